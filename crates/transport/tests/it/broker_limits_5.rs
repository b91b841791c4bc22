//! What a broker of MQTT 5 may limit, refuse and end, as those of cloud services do.

use std::io::{Read, Seek};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::health::{Dependency, Health};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, SubscribeReasonCode};
use testkit::Mosquitto;
use tokio::time::timeout;
use transport::{MqttVersion, Publisher, Source, Subscriber};

use crate::harness::{Sender, TIMEOUT, down, error_with, receive, settings_of, subscriber_for, up};
use crate::scripted::{Peer, ScriptedBroker, properties};

const GRANTED: SubscribeReasonCode = SubscribeReasonCode::Success(QoS::AtLeastOnce);
/// Long enough for a packet to arrive that shouldn't.
const QUIET: Duration = Duration::from_millis(300);

fn subscribe(broker: &ScriptedBroker, capacity: usize) -> (Subscriber, Health) {
    subscriber_for(&broker.settings(MqttVersion::V5), capacity)
}

async fn is_quiet(peer: &mut Peer) -> bool {
    timeout(QUIET, peer.read()).await.is_err()
}

#[tokio::test]
async fn a_refused_subscription_is_an_error_with_its_reason_until_it_is_granted() {
    let broker = ScriptedBroker::start().await;
    let (session, health) = subscribe(&broker, 10);
    let (mut peer, _) = broker.accept_with(false, None).await;
    peer.answer_subscribe(SubscribeReasonCode::NotAuthorized)
        .await;
    let error = error_with(&health, "not authorized (code 0x87)").await;
    assert!(
        error.contains("rigs/") && error.contains("MQTT_TOPIC"),
        "{error}"
    );
    assert!(!health.report().ready);
    let (mut peer, _) = broker.accept_with(true, None).await;
    peer.answer_subscribe(SubscribeReasonCode::Success(QoS::AtMostOnce))
        .await;
    error_with(&health, "it grants QoS 0").await;
    let (mut peer, _) = broker.accept_with(true, None).await;
    peer.answer_subscribe(GRANTED).await;
    up(&health).await;
    drop(peer);
    session.close().await;
}

#[tokio::test]
async fn a_subscription_refused_by_mqtt_3_is_an_error_without_a_reason() {
    let broker = ScriptedBroker::start().await;
    let (session, health) = subscriber_for(&broker.settings(MqttVersion::V311), 10);
    let mut peer = broker.accept().await;
    // CONNACK, and a SUBACK for packet id 1 with a failure.
    peer.send_bytes(&[0x20, 2, 0, 0]).await;
    peer.send_bytes(&[0x90, 3, 0, 1, 0x80]).await;
    let error = error_with(&health, "it gives no reason (code 0x80)").await;
    assert!(error.contains("MQTT_TOPIC"), "{error}");
    assert!(!health.report().ready);
    broker.accept().await;
    session.close().await;
}

#[tokio::test]
async fn a_refused_connection_is_an_error_in_words() {
    let broker = ScriptedBroker::start().await;
    let (session, health) = subscribe(&broker, 10);
    for (answer, words) in [
        (&[0x20, 3, 0, 0x97, 0][..], "a quota is exceeded"),
        (&[0x20, 3, 0, 0x86, 0], "check MQTT_USERNAME"),
        (&[0x20, 3, 0, 0x85, 0], "set another MQTT_CLIENT_ID"),
        (&[0x20, 3, 0, 0x9f, 0], "connections are opened faster"),
        // As a broker that speaks 3.1.1 only.
        (&[0x20, 2, 0, 1], "set MQTT_VERSION=3.1.1"),
        (&[0x20, 3, 0, 0xfe, 0], "(code 0xfe)"),
    ] {
        let mut peer = broker.accept().await;
        peer.next().await;
        peer.send_bytes(answer).await;
        error_with(&health, words).await;
    }
    session.close().await;
}

#[tokio::test]
async fn a_session_that_is_kept_goes_on_and_a_lost_one_is_subscribed_again() {
    let broker = ScriptedBroker::start().await;
    let (mut session, health) = subscribe(&broker, 10);
    let (mut peer, connect) = broker.accept_with(false, None).await;
    assert!(!connect.clean_start);
    let asked = connect.properties.unwrap();
    assert_eq!(asked.session_expiry_interval, Some(u32::MAX), "never");
    assert_eq!(asked.receive_maximum, Some(10));
    peer.answer_subscribe(GRANTED).await;
    up(&health).await;

    // With a reason only, and with empty properties.
    for disconnect in [&[0xe0, 1, 0x8b][..], &[0xe0, 2, 0x8b, 0]] {
        peer.send_bytes(disconnect).await;
        down(&health).await;
        error_with(&health, "it is shutting down (code 0x8b)").await;
        (peer, _) = broker.accept_with(true, None).await;
        up(&health).await;
        peer.publish(7).await;
        let deliveries = receive(&mut session, 1).await;
        assert!(is_quiet(&mut peer).await, "it acknowledges or subscribes");
        session.ack(deliveries.into_iter().map(|delivery| delivery.ticket));
        assert!(matches!(peer.next().await, Packet::PubAck(ack) if ack.pkid == 7));
    }

    peer.send_bytes(&[0xe0, 1, 0x8e]).await;
    error_with(&health, "another client connected").await;
    let (mut peer, _) = broker.accept_with(false, None).await;
    peer.answer_subscribe(GRANTED).await;
    up(&health).await;
    drop(peer);
    session.close().await;
}

#[tokio::test]
async fn pings_keep_to_the_keep_alive_of_the_broker() {
    let broker = ScriptedBroker::start().await;
    let (session, health) = subscribe(&broker, 10);
    let mut limits = properties();
    limits.server_keep_alive = Some(2);
    let (mut peer, connect) = broker.accept_with(false, Some(limits)).await;
    assert!(connect.keep_alive > 2);
    peer.answer_subscribe(GRANTED).await;
    up(&health).await;
    let mut last = Instant::now();
    for _ in 0..3 {
        assert_eq!(
            peer.next().await,
            Packet::PingReq(rumqttc::v5::mqttbytes::v5::PingReq)
        );
        assert!(last.elapsed() < Duration::from_secs(2), "{last:?}");
        last = Instant::now();
        // PINGRESP.
        peer.send_bytes(&[0xd0, 0]).await;
    }
    assert!(health.report().ready);
    drop(peer);
    session.close().await;
}

#[tokio::test]
async fn a_session_that_expires_is_warned_of_once() {
    let mut log = tempfile::tempfile().unwrap();
    let writer = Arc::new(log.try_clone().unwrap());
    let format = tracing_subscriber::fmt().with_ansi(false);
    // This test's only thread, on which the session runs, too.
    let _guard = tracing::subscriber::set_default(format.with_writer(writer).finish());
    let broker = ScriptedBroker::start().await;
    let (session, health) = subscribe(&broker, 10);
    let mut limits = properties();
    limits.session_expiry_interval = Some(3_600);
    let (mut peer, _) = broker.accept_with(false, Some(limits.clone())).await;
    peer.answer_subscribe(GRANTED).await;
    up(&health).await;
    drop(peer);
    down(&health).await;
    let (peer, _) = broker.accept_with(true, Some(limits)).await;
    up(&health).await;
    drop(peer);
    session.close().await;

    let mut text = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    let warnings = text.matches("held_seconds=3600");
    assert_eq!(warnings.count(), 1, "{text}");
    assert!(text.contains("WARN"), "{text}");
}

async fn publisher(broker: &ScriptedBroker, count: u64) -> (Publisher, Health) {
    let health = Health::default();
    let dependency: Dependency = health.dependency("mqtt");
    let settings = broker.settings(MqttVersion::V5);
    let publisher = Publisher::start(&settings, "sender", dependency, |_| {});
    for id in 0..count {
        let topic = "rigs/R/measurements/a".to_owned();
        publisher.publish(id, topic, "1").await.unwrap();
    }
    (publisher, health)
}

#[tokio::test]
async fn no_more_messages_are_sent_unacknowledged_than_the_broker_takes() {
    let broker = ScriptedBroker::start().await;
    let (publisher, _) = publisher(&broker, 6).await;
    let mut limits = properties();
    limits.receive_max = Some(2);
    let (mut peer, _) = broker.accept_with(false, Some(limits.clone())).await;
    assert_eq!((peer.message().await, peer.message().await), (1, 2));
    assert!(is_quiet(&mut peer).await);
    peer.ack(1, PubAckReason::Success).await;
    assert_eq!(peer.message().await, 3);
    assert!(is_quiet(&mut peer).await);
    drop(peer);

    // Five are left.
    let (mut peer, _) = broker.accept_with(false, Some(limits)).await;
    assert_eq!((peer.message().await, peer.message().await), (1, 2));
    assert!(is_quiet(&mut peer).await);
    for id in 1..=5 {
        let reason = PubAckReason::NoMatchingSubscribers;
        peer.ack(id, reason).await;
        if id <= 3 {
            assert_eq!(peer.message().await, id + 2);
        }
    }
    assert!(publisher.drain(Duration::from_secs(5)).await);
    drop(peer);
    assert_eq!(publisher.close().await.unacknowledged, 0);
}

#[tokio::test]
async fn a_refused_message_is_an_error_and_sent_again() {
    let broker = ScriptedBroker::start().await;
    let (publisher, health) = publisher(&broker, 1).await;
    let mut limits = properties();
    limits.max_qos = Some(0);
    let _peer = broker.accept_with(false, Some(limits)).await;
    error_with(&health, "QoS 0 only").await;

    let (mut peer, _) = broker.accept_with(false, None).await;
    let id = peer.message().await;
    peer.ack(id, PubAckReason::QuotaExceeded).await;
    error_with(&health, "a quota is exceeded").await;
    assert_eq!(publisher.counts().acknowledged, 0);

    let (mut peer, _) = broker.accept_with(false, None).await;
    let id = peer.message().await;
    peer.ack(id, PubAckReason::Success).await;
    assert!(publisher.drain(Duration::from_secs(5)).await);
    drop(peer);
    publisher.close().await;
}

#[tokio::test]
async fn messages_above_the_maximum_packet_size_are_dropped_and_the_others_arrive() {
    let broker = ScriptedBroker::start().await;
    let (publisher, health) = publisher(&broker, 1).await;
    let publish = async |id: u64, size: usize| {
        let topic = "rigs/R/measurements/a".to_owned();
        publisher
            .publish(id, topic, vec![b'x'; size])
            .await
            .unwrap();
    };
    publish(1, 1_000).await;
    publish(2, 10).await;
    let mut limits = properties();
    limits.max_packet_size = Some(500);
    let (mut peer, _) = broker.accept_with(false, Some(limits.clone())).await;
    // Small enough for this broker, and later too large.
    publish(3, 400).await;
    publish(4, 500).await;
    publish(5, 10).await;
    for id in 1..=4 {
        assert_eq!(peer.message().await, id);
    }
    assert!(is_quiet(&mut peer).await && health.report().ready);
    assert_eq!(publisher.counts().too_large, 2);
    peer.ack(1, PubAckReason::Success).await;
    drop(peer);

    limits.max_packet_size = Some(100);
    let (mut peer, _) = broker.accept_with(false, Some(limits)).await;
    assert_eq!((peer.message().await, peer.message().await), (1, 2));
    assert!(is_quiet(&mut peer).await);
    for id in 1..=2 {
        peer.ack(id, PubAckReason::Success).await;
    }
    assert!(publisher.drain(Duration::from_secs(5)).await);
    drop(peer);
    let counts = publisher.close().await;
    assert_eq!((counts.sent, counts.acknowledged), (6, 3));
    assert_eq!((counts.too_large, counts.unacknowledged), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_takes_the_largest_packet_that_it_allows() {
    let broker = Mosquitto::start_with(&["allow_anonymous true", "max_packet_size 1000"]);
    let sender = Sender::of(&broker, MqttVersion::V5);
    // Of a PUBLISH: 3 bytes of header, 5 of lengths and id, and the topic.
    let largest = 1_000 - 3 - 5 - "rigs/RIG-1/measurements/pressure".len();
    for (id, size) in [
        (0, 10),
        (1, largest),
        (2, largest + 1),
        (3, 100_000),
        (4, 10),
    ] {
        sender.send_sized(id, size).await;
    }
    assert!(sender.publisher.drain(TIMEOUT).await);
    let counts = sender.publisher.counts();
    assert_eq!((counts.acknowledged, counts.too_large), (3, 2));
    assert_eq!(broker.logs().matches("New client connected").count(), 1);
    sender.publisher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_keeps_to_our_receive_maximum() {
    let broker = Mosquitto::start();
    let (mut session, health) = subscriber_for(&settings_of(&broker, MqttVersion::V5), 10);
    up(&health).await;
    let sender = Sender::of(&broker, MqttVersion::V5);
    sender.send(0..30).await;
    sender.finish().await;
    let first = receive(&mut session, 10).await;
    let mut more = Vec::new();
    let waited = timeout(QUIET, session.recv_batch(100, &mut more)).await;
    assert!(waited.is_err() && first.len() == 10, "{}", more.len());
    session.ack(first.into_iter().map(|delivery| delivery.ticket));
    receive(&mut session, 10).await;
}
