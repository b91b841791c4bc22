//! Faults at every request of a first start.

use std::time::{Duration, Instant};

use testkit::influx_proxy::{Forward, Reply};
use testkit::wait_until;

use super::fixture::Site;
use crate::fixture::{SOON, text};

/// Number of requests of a first start.
fn requests() -> usize {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let count = site.proxy.requests().len();
    assert!(count >= 10, "{:?}", site.proxy.requests());
    count
}

/// The process continues by itself.
fn goes_on(how: &Reply) {
    for number in 1..=requests() {
        let site = Site::new();
        site.proxy.reply_at(number, how.clone());
        let ended = site.init(&[]);
        let said = text(&ended);
        assert!(ended.status.success(), "request {number}: {said}");
        assert!(site.proxy.has_replied());
        assert!(
            said.contains("waiting for InfluxDB to "),
            "request {number}: {said}"
        );
        site.assert_good();
    }
}

/// The process is killed and restarted.
fn starts_again(how: &Reply) {
    for number in 1..=requests() {
        let site = Site::new();
        site.proxy.reply_at_and_go_down(number, how.clone());
        let mut first = site.start();
        assert!(
            wait_until(SOON, || site.proxy.has_replied()),
            "request {number}"
        );
        first.kill();
        site.proxy.revive();
        let ended = site.init(&[]);
        assert!(ended.status.success(), "request {number}: {}", text(&ended));
        site.assert_good();
    }
}

#[test]
fn lost_requests_are_retried() {
    goes_on(&Reply::cut());
}

#[test]
fn lost_responses_are_retried() {
    goes_on(&Reply::cut().forwarding(Forward::All));
}

#[test]
fn server_errors_are_retried() {
    goes_on(&Reply::error(500, "internal error", "scripted"));
}

#[test]
fn restart_after_a_lost_request_continues() {
    starts_again(&Reply::cut());
}

#[test]
fn restart_after_a_lost_response_continues() {
    starts_again(&Reply::cut().forwarding(Forward::All));
}

#[test]
fn restart_after_a_server_error_continues() {
    starts_again(&Reply::error(503, "unavailable", "scripted"));
}

#[test]
fn kill_at_any_moment_is_recovered() {
    const MOMENTS: u32 = 40;
    let delay = Duration::from_millis(4);
    let site = Site::new();
    site.proxy.slow_down(delay);
    let begun = Instant::now();
    assert!(site.init(&[]).status.success());
    let whole = begun.elapsed();
    for moment in 0..MOMENTS {
        let site = Site::new();
        site.proxy.slow_down(delay);
        let mut first = site.start();
        std::thread::sleep(whole * moment / MOMENTS);
        first.kill();
        let mut second = site.start();
        std::thread::sleep(whole * (MOMENTS - moment) / MOMENTS);
        second.kill();
        let ended = site.init(&[]);
        assert!(ended.status.success(), "moment {moment}: {}", text(&ended));
        site.assert_good();
    }
}

#[test]
fn signal_ends_init_at_once() {
    let site = Site::new();
    site.proxy.reply_at_and_go_down(1, Reply::cut());
    let mut process = site.start();
    assert!(wait_until(SOON, || process
        .logs()
        .contains("waiting for InfluxDB to be ready")));
    process.terminate();
    let ended = process.wait_exit(Duration::from_secs(2)).unwrap();
    assert_eq!(ended.code(), Some(143), "{}", process.logs());
}

#[test]
fn concurrent_runs_create_everything_once() {
    let site = Site::new();
    site.proxy.slow_down(Duration::from_millis(10));
    let (mut one, mut other) = (site.start(), site.start());
    for process in [&mut one, &mut other] {
        let ended = process.wait_exit(SOON).unwrap();
        assert!(ended.success(), "{}", process.logs());
    }
    let waited = [&one, &other].map(|process| process.logs().contains("another rigline init"));
    assert_ne!(waited[0], waited[1]);
    site.assert_good();
}
