//! Brokers that refuse the client, are down, or don't answer.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::health::Health;
use common::secret::Secret;
use testkit::{Mosquitto, tool};
use transport::{MqttSettings, PublishError, Publisher, Source, SubscribeSettings, Subscriber};

use crate::harness::{Sender, last_error, receive, settings, subscriber, up};

fn as_user(broker: &Mosquitto, password: &str) -> (Subscriber, Health) {
    let health = Health::default();
    let mut settings = settings(broker);
    settings.mqtt_username = "ann".into();
    settings.mqtt_password = Some(Secret::new(password));
    let dependency = health.dependency("mqtt");
    (
        Subscriber::start(
            &settings,
            &SubscribeSettings::default(),
            "rigline-test",
            dependency,
        ),
        health,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwords");
    let mut command = tool("mosquitto_passwd");
    assert!(
        command
            .arg("-b")
            .arg("-c")
            .arg(&file)
            .args(["ann", "right"])
            .status()
            .unwrap()
            .success()
    );
    let line = format!("password_file {}", file.display());
    let broker = Mosquitto::start_with(&["allow_anonymous false", &line]);

    let (session, health) = as_user(&broker, "wrong");
    let error = last_error(&health).await;
    assert!(
        error.contains("MQTT_PASSWORD") && !error.contains("wrong"),
        "{error}"
    );
    session.close().await;
    let (session, health) = subscriber(&broker);
    assert!(last_error(&health).await.contains("MQTT_USERNAME"));
    session.close().await;
    let (session, health) = as_user(&broker, "right");
    up(&health).await;
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_with_the_same_id_are_reported() {
    let broker = Mosquitto::start();
    let (_first, health) = subscriber(&broker);
    up(&health).await;
    let (_second, _) = subscriber(&broker);
    let error = last_error(&health).await;
    assert!(error.contains("MQTT_CLIENT_ID"), "{error}");
}

/// Starts both kinds of session, gives them time to fail, and measures how long closing takes.
async fn measure_close(settings: &MqttSettings) -> (String, Duration) {
    let health = Health::default();
    let session = Subscriber::start(
        settings,
        &SubscribeSettings::default(),
        "rigline-test",
        health.dependency("mqtt"),
    );
    let publisher = Publisher::start(settings, "sender", health.dependency("mqtt"), |_| {});
    publisher
        .publish(1, "rigs/R/measurements/a".into(), "x")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    session.close().await;
    publisher.close().await;
    let error = health.report().dependencies[0].last_error.clone();
    (error.unwrap_or_default(), started.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_is_quick_with_and_without_a_broker() {
    let limit = Duration::from_millis(1_500);
    let mut broker = Mosquitto::start();
    let (_, took) = measure_close(&settings(&broker)).await;
    assert!(took < limit, "with a broker {took:?}");
    assert!(
        !broker.logs().contains("exceeded timeout"),
        "{}",
        broker.logs()
    );

    broker.stop();
    let (error, took) = measure_close(&settings(&broker)).await;
    assert!(took < limit, "without a broker {took:?}");
    let address = format!("127.0.0.1:{}", broker.port());
    assert!(error.contains(&address), "{error}");

    let (_, took) = measure_close(&MqttSettings::at("no-such-host.invalid", 1883)).await;
    assert!(took < limit, "without a host {took:?}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let (_, took) = measure_close(&MqttSettings::at("127.0.0.1", port)).await;
    assert!(took < limit, "with a broker that doesn't answer {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_sends_the_last_acknowledgements() {
    let broker = Mosquitto::start();
    let (mut session, health) = subscriber(&broker);
    up(&health).await;
    let sender = Sender::start(&broker);
    sender.send(0..3_000).await;
    let mut deliveries = receive(&mut session, 1_000).await;
    // The broker is still sending when we close the connection.
    session.ack(deliveries.drain(..500).map(|delivery| delivery.ticket));
    session.close().await;
    sender.finish().await;
    let (mut session, _) = subscriber(&broker);
    let again = receive(&mut session, 1).await;
    assert_eq!(crate::harness::id_of(&again[0]), 500);
}

#[tokio::test]
async fn messages_that_a_broker_would_reject_are_refused() {
    let settings = MqttSettings::at("127.0.0.1", 1);
    let dependency = common::health::Dependency::unreported("mqtt");
    let publisher = Publisher::start(&settings, "sender", dependency, |_| {});
    for topic in ["", "a/+", "#", "a\0b", &"x".repeat(65_536)] {
        let refused = publisher.publish(1, topic.to_owned(), "x").await;
        assert_eq!(refused, Err(PublishError::Topic(topic.to_owned())));
    }
    let refused = publisher.publish(1, "t".into(), vec![0; 268_435_456]).await;
    assert_eq!(refused, Err(PublishError::TooLarge(268_435_456)));
    assert_eq!(publisher.counts().sent, 0);
}
