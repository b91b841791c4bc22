//! Every request of a fresh start broken off in every way.

use std::time::Duration;

use testkit::influx_setup::Break;
use testkit::wait_until;

use super::fixture::Site;
use crate::fixture::{SOON, text};

/// How many requests a fresh start makes.
fn requests() -> usize {
    let site = Site::new();
    assert!(site.init(&[]).status.success());
    let count = site.server.requests().len();
    assert!(count >= 10, "{:?}", site.server.requests());
    count
}

/// The process goes on by itself.
fn goes_on(how: Break) {
    for number in 1..=requests() {
        let site = Site::new();
        site.server.break_at(number, how);
        let ended = site.init(&[]);
        let said = text(&ended);
        assert!(ended.status.success(), "request {number}: {said}");
        assert!(site.server.has_broken());
        assert!(
            said.contains("waiting for InfluxDB to "),
            "request {number}: {said}"
        );
        site.assert_good();
    }
}

/// The process is killed, and started again.
fn starts_again(how: Break) {
    for number in 1..=requests() {
        let site = Site::new();
        site.server.break_down_at(number, how);
        let mut first = site.start();
        assert!(
            wait_until(SOON, || site.server.has_broken()),
            "request {number}"
        );
        first.kill();
        site.server.revive();
        let ended = site.init(&[]);
        assert!(ended.status.success(), "request {number}: {}", text(&ended));
        site.assert_good();
    }
}

#[test]
fn goes_on_when_requests_are_lost() {
    goes_on(Break::Before);
}

#[test]
fn goes_on_when_answers_are_lost() {
    goes_on(Break::After);
}

#[test]
fn goes_on_when_the_server_is_ill() {
    goes_on(Break::Status(500));
}

#[test]
fn starts_again_when_requests_are_lost() {
    starts_again(Break::Before);
}

#[test]
fn starts_again_when_answers_are_lost() {
    starts_again(Break::After);
}

#[test]
fn starts_again_when_the_server_is_ill() {
    starts_again(Break::Status(503));
}

#[test]
fn is_killed_at_any_moment() {
    for moment in 0..40 {
        let site = Site::new();
        site.server.slow_down(Duration::from_millis(4));
        let mut first = site.start();
        std::thread::sleep(Duration::from_millis(3 * moment));
        first.kill();
        let mut second = site.start();
        std::thread::sleep(Duration::from_millis(100 - 2 * moment));
        second.kill();
        let ended = site.init(&[]);
        assert!(ended.status.success(), "moment {moment}: {}", text(&ended));
        site.assert_good();
    }
}

#[test]
fn a_signal_ends_it_at_once() {
    let site = Site::new();
    site.server.break_down_at(1, Break::Before);
    let mut process = site.start();
    assert!(wait_until(SOON, || process
        .logs()
        .contains("waiting for InfluxDB to be ready")));
    process.terminate();
    let ended = process.wait_exit(Duration::from_secs(2)).unwrap();
    assert_eq!(ended.code(), Some(143), "{}", process.logs());
}

#[test]
fn two_at_once_make_everything_once() {
    let site = Site::new();
    site.server.slow_down(Duration::from_millis(10));
    let (mut one, mut other) = (site.start(), site.start());
    for process in [&mut one, &mut other] {
        let ended = process.wait_exit(SOON).unwrap();
        assert!(ended.success(), "{}", process.logs());
    }
    let waited = [&one, &other].map(|process| process.logs().contains("another rigline init"));
    assert_ne!(waited[0], waited[1]);
    site.assert_good();
}
