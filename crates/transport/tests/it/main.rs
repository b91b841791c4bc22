//! Publisher and subscriber with a real Mosquitto, and the listener with real clients.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod broker_errors;
mod broker_limits;
mod broker_limits_5;
mod harness;
mod http;
mod http_stream;
mod listener;
mod pubsub;
mod scripted;
mod tls;

use std::collections::BTreeSet;
use std::time::Duration;

use testkit::Mosquitto;
use transport::{Delivery, MqttVersion, Source};

use crate::harness::{
    Sender, TIMEOUT, down, id_of, nothing_is_redelivered, receive, settings_of, subscriber_of, up,
};

fn ids(deliveries: &[Delivery]) -> BTreeSet<u64> {
    deliveries.iter().map(id_of).collect()
}

/// Runs each test with both versions of MQTT.
macro_rules! with_both_versions {
    ($($test:ident,)*) => {
        mod mqtt_3 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(transport::MqttVersion::V311).await;
            })*
        }

        mod mqtt_5 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(transport::MqttVersion::V5).await;
            })*
        }
    };
}

with_both_versions! {
    acknowledged_messages_are_not_delivered_again,
    unacknowledged_messages_are_delivered_again,
    a_broker_that_restarts_with_its_data_loses_nothing,
    a_broker_that_restarts_without_its_data_gets_a_new_subscription,
    messages_in_flight_are_sent_again_after_the_connection_broke,
    a_ticket_of_an_earlier_connection_acknowledges_nothing,
    a_message_of_two_mebibytes_delays_no_other,
    a_receiver_that_pauses_causes_no_deadlock,
    messages_that_wait_for_the_broker_are_bounded,
}

async fn acknowledged_messages_are_not_delivered_again(version: MqttVersion) {
    let broker = Mosquitto::start();
    let (mut session, health) = subscriber_of(&broker, version);
    up(&health).await;
    let sender = Sender::of(&broker, version);
    sender.send(0..5_000).await;
    let mut seen = Vec::new();
    while seen.len() < 5_000 {
        let deliveries = receive(&mut session, 1).await;
        assert!(deliveries.iter().all(|d| d.qos == 1 && !d.dup && !d.retain));
        assert_eq!(deliveries[0].topic, "rigs/RIG-1/measurements/pressure");
        seen.extend(deliveries.iter().map(id_of));
        session.ack(deliveries.into_iter().map(|delivery| delivery.ticket));
    }
    assert!(seen.into_iter().eq(0..5_000), "not in order");
    assert_eq!(sender.finish().await, (0..5_000).collect());
    session.close().await;

    let (mut session, health) = subscriber_of(&broker, version);
    up(&health).await;
    nothing_is_redelivered(&broker, &mut session).await;
}

async fn unacknowledged_messages_are_delivered_again(version: MqttVersion) {
    let broker = Mosquitto::start();
    let (mut session, health) = subscriber_of(&broker, version);
    up(&health).await;
    let sender = Sender::of(&broker, version);
    sender.send(0..100).await;
    let mut deliveries = receive(&mut session, 100).await;
    session.ack(deliveries.drain(..40).map(|delivery| delivery.ticket));
    session.close().await;

    let (mut session, _) = subscriber_of(&broker, version);
    let again = receive(&mut session, 60).await;
    assert_eq!(ids(&again), (40..100).collect());
    assert!(again.iter().all(|delivery| delivery.dup));
    nothing_is_redelivered(&broker, &mut session).await;
}

async fn a_broker_that_restarts_with_its_data_loses_nothing(version: MqttVersion) {
    let mut broker = Mosquitto::start();
    let (mut session, health) = subscriber_of(&broker, version);
    up(&health).await;
    let sender = Sender::of(&broker, version);
    sender.send(0..1_000).await;
    broker.stop();
    sender.send(1_000..2_000).await;
    broker.restart();
    sender.send(2_000..3_000).await;

    let mut seen = BTreeSet::new();
    while seen.len() < 3_000 {
        let deliveries = receive(&mut session, 1).await;
        seen.extend(ids(&deliveries));
        session.ack(deliveries.into_iter().map(|delivery| delivery.ticket));
    }
    assert_eq!(sender.finish().await, (0..3_000).collect());
}

async fn a_broker_that_restarts_without_its_data_gets_a_new_subscription(version: MqttVersion) {
    let mut broker = Mosquitto::start();
    let (mut session, health) = subscriber_of(&broker, version);
    up(&health).await;
    let sender = Sender::of(&broker, version);
    sender.send(0..500).await;
    receive(&mut session, 500).await;
    broker.kill();
    down(&health).await;
    // The broker has lost the session, so it drops what arrives before the new subscription: these may
    // be delivered or not, but all of them have to be acknowledged.
    sender.send(500..1_000).await;
    broker.restart_without_data();
    up(&health).await;
    sender.send(1_000..1_500).await;
    let mut seen = BTreeSet::new();
    while !(1_000..1_500).all(|id| seen.contains(&id)) {
        seen.extend(ids(&receive(&mut session, 1).await));
    }
    assert_eq!(sender.finish().await, (0..1_500).collect());
}

async fn messages_in_flight_are_sent_again_after_the_connection_broke(version: MqttVersion) {
    let mut broker = Mosquitto::start();
    let sender = Sender::of(&broker, version);
    sender.send(0..10).await;
    assert!(sender.publisher.drain(TIMEOUT).await);
    broker.freeze();
    sender.send(10..3_000).await;
    assert!(!sender.publisher.drain(Duration::from_millis(200)).await);
    broker.kill();
    broker.restart();
    assert_eq!(sender.finish().await, (0..3_000).collect());
}

async fn a_ticket_of_an_earlier_connection_acknowledges_nothing(version: MqttVersion) {
    let mut broker = Mosquitto::start();
    let (mut session, health) = subscriber_of(&broker, version);
    up(&health).await;
    let sender = Sender::of(&broker, version);
    sender.send([1]).await;
    let earlier = receive(&mut session, 1).await;
    broker.kill();
    down(&health).await;
    broker.restart_without_data();
    // Both messages have packet id 1: the broker has lost the session in between.
    up(&health).await;
    sender.send([2]).await;
    while !receive(&mut session, 1)
        .await
        .iter()
        .any(|delivery| id_of(delivery) == 2)
    {}
    session.ack(earlier.into_iter().map(|delivery| delivery.ticket));
    session.close().await;

    let (mut session, _) = subscriber_of(&broker, version);
    assert_eq!(ids(&receive(&mut session, 1).await), [2].into());
}

async fn a_message_of_two_mebibytes_delays_no_other(version: MqttVersion) {
    let broker = Mosquitto::start();
    let (mut session, health) = subscriber_of(&broker, version);
    up(&health).await;
    let sender = Sender::of(&broker, version);
    sender.send([1]).await;
    sender.send_sized(2, 2 << 20).await;
    sender.send(3..100).await;
    let deliveries = receive(&mut session, 99).await;
    assert_eq!(ids(&deliveries), (1..100).collect());
    assert_eq!(deliveries[1].payload.len(), 2 << 20);
    assert!(
        deliveries.iter().all(|delivery| !delivery.dup),
        "the connection broke"
    );
    assert_eq!(sender.finish().await, (1..100).collect());
}

async fn a_receiver_that_pauses_causes_no_deadlock(version: MqttVersion) {
    // The broker sends without limit, and the subscriber holds few messages: the sockets fill up.
    let broker = Mosquitto::start_with(&["allow_anonymous true", "max_inflight_messages 0"]);
    let (mut session, health) = harness::subscriber_for(&settings_of(&broker, version), 10);
    up(&health).await;
    let sender = Sender::of(&broker, version);
    for id in 0..100 {
        sender.send_sized(id, 100_000).await;
    }
    let first = receive(&mut session, 10).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    session.ack(first.into_iter().map(|delivery| delivery.ticket));
    let mut count = 10;
    while count < 100 {
        let deliveries = receive(&mut session, 1).await;
        assert!(
            deliveries.iter().all(|delivery| !delivery.dup),
            "the connection broke"
        );
        count += deliveries.len();
        session.ack(deliveries.into_iter().map(|delivery| delivery.ticket));
    }
    assert_eq!(sender.finish().await.len(), 100);
    session.close().await;
    let (mut session, health) = subscriber_of(&broker, version);
    up(&health).await;
    nothing_is_redelivered(&broker, &mut session).await;
}

async fn messages_that_wait_for_the_broker_are_bounded(version: MqttVersion) {
    let mut broker = Mosquitto::start();
    broker.stop();
    let sender = Sender::of(&broker, version);
    let filling = tokio::time::timeout(Duration::from_secs(2), sender.send(0..100_000)).await;
    assert!(filling.is_err(), "took 100,000 messages without a broker");
    let counts = sender.publisher.counts();
    assert!((19_000..=20_000).contains(&counts.sent), "{counts:?}");
    assert_eq!(
        (counts.acknowledged, counts.unacknowledged),
        (0, counts.sent)
    );
    assert!(!sender.publisher.drain(Duration::from_millis(10)).await);
    broker.restart();
    assert!(sender.publisher.drain(TIMEOUT).await);
    assert_eq!(sender.finish().await, (0..counts.sent).collect());
}
