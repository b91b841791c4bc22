//! Mosquitto with the settings that Rigline ships: what it holds while the ingester is away.

use std::fs;
use std::time::{Duration, Instant};

use testkit::Mosquitto;
use transport::Source;

use crate::harness::{Sender, TIMEOUT, id_of, receive, subscriber, up};

/// `max_queued_messages` in mosquitto/config/mosquitto.conf.
const HELD: u64 = 250_000;
/// `max_inflight_messages`: these are held beside the queue.
const IN_FLIGHT: u64 = 1_000;
/// `mem_limit` of the service `mosquitto` in docker-compose.yml, in KiB.
const MEMORY_LIMIT: u64 = 160 << 10;

/// The lines of the shipped settings that decide how much is held.
fn shipped_limits() -> Vec<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let config = fs::read_to_string(format!("{root}/mosquitto/config/mosquitto.conf")).unwrap();
    let compose = fs::read_to_string(format!("{root}/docker-compose.yml")).unwrap();
    let mosquitto = compose.split("\n  mosquitto:\n").nth(1).unwrap();
    let limit = mosquitto.split("mem_limit: ").nth(1).unwrap();
    assert!(limit.starts_with("160m\n"), "{limit:.20}");
    let limits = config.lines().filter(|line| {
        ["max_queued_", "max_inflight_", "autosave_"]
            .iter()
            .any(|name| line.starts_with(name))
    });
    let limits: Vec<String> = limits.map(str::to_owned).collect();
    assert_eq!(limits.len(), 4, "{limits:?}");
    limits
}

#[tokio::test(flavor = "multi_thread")]
async fn full_broker_keeps_the_oldest_messages_and_stays_within_its_memory() {
    let limits = shipped_limits();
    let mut lines = vec!["allow_anonymous true"];
    lines.extend(limits.iter().map(String::as_str));
    let broker = Mosquitto::start_with(&lines);
    let (session, health) = subscriber(&broker);
    up(&health).await;
    session.close().await;

    let sent = HELD + IN_FLIGHT + 19_000;
    let sender = Sender::start(&broker);
    sender.send(0..sent).await;
    assert!(sender.publisher.drain(TIMEOUT).await);
    // It acknowledges also what it drops, and counts it.
    assert_eq!(sender.finish().await.len() as u64, sent);
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    assert!(peak < MEMORY_LIMIT * 4 / 5, "{peak} KiB");

    let (mut session, _) = subscriber(&broker);
    let mut next = 0;
    while next < HELD {
        let deliveries = receive(&mut session, 1).await;
        for delivery in &deliveries {
            assert_eq!(id_of(delivery), next, "the oldest are kept, in order");
            next += 1;
        }
        session.ack(deliveries.into_iter().map(|delivery| delivery.ticket));
    }
    session.close().await;
    assert!(next <= HELD + IN_FLIGHT, "{next}");
    // Updated every 10 s.
    let started = Instant::now();
    while !(19_000..=20_000).contains(&dropped(&broker)) {
        assert!(started.elapsed() < TIMEOUT, "{}", dropped(&broker));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// How many messages the broker says it has dropped.
fn dropped(broker: &Mosquitto) -> u64 {
    let mut client = broker.client("mosquitto_sub");
    client.args(["-t", "$SYS/broker/publish/messages/dropped"]);
    let output = client.args(["-C", "1", "-W", "60"]).output().unwrap();
    let number = String::from_utf8(output.stdout).unwrap();
    number.trim().parse().unwrap()
}
