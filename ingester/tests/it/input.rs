//! Accepted readings and dead letters.

use common::health::Status;
use std::time::Duration;

use common::clock::Clock;
use model::element;
use queue::ledger::Counter;
use queue::list::List;
use queue::testing::assert_exact;
use serde_json::Value;
use testkit::Mosquitto;

use crate::fixture::{
    Device, TOPIC, accepted, now, payload, publish_with, queue, raw_values, start,
    start_accepting_retained, start_at,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_is_appended_with_its_timestamp_and_arrival() {
    let (queue, broker) = (queue(), Mosquitto::start());
    let stage = start(&queue, &broker);
    stage.ready().await;
    let device = Device::start(&broker);
    let (taken, before) = (now().minus(Duration::from_secs(5)), now());
    device
        .publish("rigs/RIG-42/measurements/temp_inlet", payload(taken, 78))
        .await;
    device
        .publish("rigs/RIG-42/measurements/flow", "{\"value\":\"1.5\"}")
        .await;
    accepted(&queue, 2).await;
    let items = queue.items(List::Raw);
    let first = element::decode_reading(&items[0]).unwrap();
    let after = now();
    assert_eq!((&*first.rig_id, &*first.sensor), ("RIG-42", "temp_inlet"));
    assert_eq!(first.timestamp, taken);
    assert_eq!(first.value.to_bits(), 78_f64.to_bits());
    assert!((before..=after).contains(&first.ingest_time), "{first:?}");
    let second = element::decode_reading(&items[1]).unwrap();
    assert_eq!(second.timestamp, second.ingest_time, "it had none");
    assert_eq!(
        (&*second.sensor, second.value.to_bits()),
        ("flow", 1.5_f64.to_bits())
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_becomes_dead_letters_and_the_rest_is_appended() {
    let good = || payload(now(), 1).into_bytes();
    let at = |timestamp| payload(timestamp, 1).into_bytes();
    let hour = Duration::from_hours(1);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (TOPIC, b"{\"val".to_vec(), "not_json"),
        (TOPIC, Vec::new(), "not_json"),
        (TOPIC, b"\xff\xfe".to_vec(), "not_json"),
        (TOPIC, b"[1]".to_vec(), "not_object"),
        ("rigs/R/measurements/pressure/extra", good(), "bad_topic"),
        ("rigs/R/measurements", good(), "bad_topic"),
        ("rigs/R/measurements/time", good(), "bad_name"),
        ("rigs//measurements/pressure", good(), "bad_name"),
        (
            TOPIC,
            b"{\"timestamp\":\"today\",\"value\":1}".to_vec(),
            "bad_timestamp",
        ),
        (TOPIC, b"{\"value\":true}".to_vec(), "bad_value"),
        (TOPIC, b"{\"value\":1e999}".to_vec(), "bad_value"),
        (TOPIC, b"{\"timestamp\":0}".to_vec(), "missing_value"),
        (TOPIC, at(now().plus(hour)), "future"),
        (TOPIC, at(now().minus(30 * 24 * hour)), "past"),
        (TOPIC, vec![b'x'; 70_000], "too_large"),
    ];
    let (queue, broker) = (queue(), Mosquitto::start());
    let stage = start(&queue, &broker);
    stage.ready().await;
    let device = Device::start(&broker);
    for (value, (topic, payload, _)) in (0..).zip(&cases) {
        device.send(value..value + 1).await;
        device.publish(topic, payload.as_slice()).await;
    }
    device.settle().await;
    let count = i64::try_from(cases.len()).unwrap();
    accepted(&queue, count).await;
    let ledger = queue.wait_count(Counter::DeadIngester, count).await;
    stage.stop().await;
    assert_exact(&ledger);
    assert!(
        (0..)
            .zip(raw_values(&queue))
            .all(|(expected, value)| value == expected)
    );
    let letters = queue.items(List::Dead);
    assert_eq!((ledger.raw, letters.len()), (count, cases.len()));
    for (letter, (topic, payload, reason)) in letters.iter().zip(&cases) {
        let letter: Value = serde_json::from_slice(letter).unwrap();
        assert_eq!(letter["stage"], "ingester");
        assert_eq!(letter["reason"], *reason, "{letter}");
        assert_eq!(letter["topic"], *topic);
        let kept = letter["payload"].as_str().unwrap();
        match (*reason, payload.as_slice()) {
            ("too_large", payload) => {
                assert_eq!(kept.as_bytes(), &payload[..1024]);
                assert!(
                    letter["detail"].as_str().unwrap().contains("length 70000"),
                    "{letter}"
                );
            }
            (_, b"\xff\xfe") => assert_eq!((kept, &letter["encoding"]), ("//4=", &"base64".into())),
            (_, payload) => assert_eq!(kept.as_bytes(), payload),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_of_every_qos_are_taken() {
    let (queue, broker) = (queue(), Mosquitto::start());
    let stage = start(&queue, &broker);
    stage.ready().await;
    publish_with(&broker, &["-q", "0"], &payload(now(), 1));
    accepted(&queue, 1).await;
    // Between messages of QoS 1, which have to be acknowledged in order.
    let device = Device::start(&broker);
    device.send(2..100).await;
    publish_with(&broker, &["-q", "2"], &payload(now(), 100));
    accepted(&queue, 100).await;
    assert!(raw_values(&queue).into_iter().eq(1..=100));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_readings_are_ignored_at_each_start() {
    let (queue, broker) = (queue(), Mosquitto::start());
    // Retained by the broker before the ingester subscribed.
    publish_with(&broker, &["-q", "1", "-r"], &payload(now(), 1));
    for start_number in 0..3 {
        let stage = start(&queue, &broker);
        stage.ready().await;
        // With the flag, but published while the ingester is subscribed.
        let value = 2 + start_number;
        publish_with(&broker, &["-q", "1", "-r"], &payload(now(), value));
        accepted(&queue, i64::from(start_number) + 1).await;
        stage.stop().await;
    }
    assert!(raw_values(&queue).into_iter().eq(2..=4));
    // A message that was published while the ingester was away.
    publish_with(&broker, &["-q", "1", "-r"], &payload(now(), 5));
    let stage = start(&queue, &broker);
    accepted(&queue, 4).await;
    stage.stop().await;
    assert!(raw_values(&queue).into_iter().eq(2..=5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_readings_are_taken_if_asked_for() {
    let (queue, broker) = (queue(), Mosquitto::start());
    publish_with(&broker, &["-q", "1", "-r"], &payload(now(), 1));
    for count in 1..=2 {
        let stage = start_accepting_retained(&queue, &broker);
        stage.ready().await;
        accepted(&queue, count).await;
        stage.stop().await;
    }
    assert_eq!(raw_values(&queue), [1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_or_lost_while_clocks_disagree() {
    let hour = Duration::from_hours(1);
    for wrong in [Clock::ahead(hour), Clock::behind(hour)] {
        let (queue, broker) = (queue(), Mosquitto::start());
        let stage = start_at(wrong, &queue, &broker);
        let said = stage.until("clock", Status::Down).await;
        assert!(
            said.contains("clock") && said.contains("MAX_FUTURE"),
            "{said}"
        );
        stage.until("mqtt", Status::Up).await;
        assert!(!stage.is_ready());
        Device::start(&broker).send(0..50).await;
        // Long enough to take them all, if it took any.
        tokio::time::sleep(Duration::from_millis(400)).await;
        stage.stop().await;
        let ledger = queue.ledger().await;
        assert_exact(&ledger);
        assert_eq!(
            (ledger.raw, ledger.dead, ledger.get(Counter::Accepted)),
            (0, 0, 0)
        );

        // A small difference is tolerated.
        let stage = start_at(Clock::ahead(Duration::from_secs(20)), &queue, &broker);
        stage.ready().await;
        let ledger = accepted(&queue, 50).await;
        stage.stop().await;
        assert_eq!(ledger.dead, 0);
        assert!(raw_values(&queue).into_iter().eq(0..50));
    }
}
