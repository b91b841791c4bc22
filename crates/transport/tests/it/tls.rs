//! TLS connections to a real broker.

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::health::Health;
use common::secret::Secret;
use common::settings::{MqttTls, RedisTls, Settings};
use testkit::{Certificates, Mosquitto, Redis, write_password_file};
use tokio::time::timeout;
use transport::{
    Capture, Channels, MqttSettings, ProbeError, PubSubSettings, Publisher, RedisPublisher,
    RedisSubscriber, Source, SubscribeSettings, Subscriber, keeps_sessions, probe_limits,
    probe_login,
};

use crate::harness::{TIMEOUT, last_error, up};

fn authority() -> Certificates {
    let made = Certificates::new();
    made.issue("broker", &["localhost", "broker.example"]);
    made
}

fn trusting(ca: &Path, broker: &Mosquitto) -> MqttSettings {
    MqttSettings {
        mqtt_tls: true,
        tls: MqttTls {
            ca_file: Some(ca.to_owned()),
            ..MqttTls::default()
        },
        ..MqttSettings::at("localhost", broker.port())
    }
}

/// What a session reports that can't connect.
async fn failure(settings: &MqttSettings) -> String {
    let health = Health::default();
    let up = health.dependency("mqtt");
    let session = Subscriber::start(settings, &SubscribeSettings::default(), "rigline-test", up);
    let error = last_error(&health).await;
    session.close().await;
    error
}

/// Sends messages through the broker, and receives them.
async fn exchange(settings: &MqttSettings, count: u64) {
    let health = Health::default();
    let subscribe = SubscribeSettings::default();
    let dependency = health.dependency("mqtt");
    let mut session = Subscriber::start(settings, &subscribe, "rigline-test", dependency);
    up(&health).await;
    let dependency = Health::default().dependency("mqtt");
    let publisher = Publisher::start(settings, "sender", dependency, |_| {});
    for id in 0..count {
        let topic = "rigs/R/measurements/pressure".to_owned();
        publisher.publish(id, topic, vec![b'x'; 500]).await.unwrap();
    }
    let mut received = 0;
    while received < count {
        let mut batch = Vec::new();
        timeout(TIMEOUT, session.recv_batch(1_000, &mut batch))
            .await
            .unwrap()
            .unwrap();
        received += batch.len() as u64;
        session.ack(batch.into_iter().map(|delivery| delivery.ticket));
    }
    assert!(publisher.drain(TIMEOUT).await);
    publisher.close().await;
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_and_the_probes_work() {
    let made = authority();
    let broker = Mosquitto::start_with_tls(&made, &["allow_anonymous true"]);
    let settings = trusting(&made.ca(), &broker);
    settings.clone().check().unwrap();
    exchange(&settings, 20_000).await;
    assert!(keeps_sessions(&settings).await.unwrap());
    assert!(probe_limits(&settings).await.unwrap().is_some());
    let capture = Capture::open(&settings, "#").await.unwrap();
    capture.close().await;

    let mut of_url = MqttSettings::at("elsewhere", 1);
    of_url.tls = settings.tls.clone();
    of_url
        .set_url(&format!("mqtts://localhost:{}", broker.port()))
        .unwrap();
    probe_login(&of_url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_reported_with_its_remedy() {
    let made = authority();
    let broker = Mosquitto::start_with_tls(&made, &["allow_anonymous true"]);
    let good = trusting(&made.ca(), &broker);

    let other = Certificates::new();
    let error = failure(&trusting(&other.ca(), &broker)).await;
    assert!(error.contains("MQTT_CA_FILE"), "{error}");

    let at_address = MqttSettings {
        mqtt_host: "127.0.0.1".into(),
        ..good.clone()
    };
    let error = failure(&at_address).await;
    assert!(
        error.contains("MQTT_SERVER_NAME") && error.contains("broker.example"),
        "{error}"
    );
    let mut named = at_address;
    named.tls.server_name = Some("broker.example".into());
    probe_login(&named).await.unwrap();

    let without = MqttSettings::at("localhost", broker.port());
    let error = failure(&without).await;
    assert!(error.contains("MQTT_TLS=true"), "{error}");

    let plain = Mosquitto::start();
    let error = failure(&trusting(&made.ca(), &plain)).await;
    assert!(error.contains("port for TLS"), "{error}");
    assert!(matches!(
        probe_login(&trusting(&made.ca(), &plain)).await,
        Err(ProbeError::Tls(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_client_certificate_and_a_password_are_sent() {
    let made = authority();
    made.issue("ingester", &[]);
    let passwords = made.dir().join("passwords");
    write_password_file(&passwords, "ann", "right");
    let file = format!("password_file {}", passwords.display());
    let lines = ["allow_anonymous false", &file, "require_certificate true"];
    for lines in [
        lines.to_vec(),
        [&lines[..], &["tls_version tlsv1.2"]].concat(),
    ] {
        let broker = Mosquitto::start_with_tls(&made, &lines);
        let mut settings = trusting(&made.ca(), &broker);
        settings.mqtt_username = "ann".into();
        settings.mqtt_password = Some(Secret::new("right"));
        let error = failure(&settings).await;
        assert!(error.contains("MQTT_CERT_FILE"), "{error}");
        settings.tls.cert_file = Some(made.certificate("ingester"));
        settings.tls.key_file = Some(made.key("ingester"));
        exchange(&settings, 10).await;
        settings.mqtt_password = Some(Secret::new("wrong"));
        let error = failure(&settings).await;
        assert!(error.contains("MQTT_PASSWORD"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_an_authority_that_change_are_read_at_the_next_connection() {
    let made = authority();
    let passwords = made.dir().join("passwords");
    write_password_file(&passwords, "ann", "first");
    let file = format!("password_file {}", passwords.display());
    let mut broker = Mosquitto::start_with_tls(&made, &["allow_anonymous false", &file]);
    let (ours, ca) = (made.dir().join("ours"), made.dir().join("trusted.pem"));
    fs::write(&ours, "first\n").unwrap();
    fs::copy(made.ca(), &ca).unwrap();
    let mut settings = trusting(&ca, &broker);
    settings.mqtt_username = "ann".into();
    settings.mqtt_password_file = Some(ours.clone());
    settings.check().unwrap();

    let health = Health::default();
    let dependency = health.dependency("mqtt");
    let publisher = Publisher::start(&settings, "sender", dependency, |_| {});
    let publish = async |ids: std::ops::Range<u64>| {
        for id in ids {
            publisher.publish(id, "t".into(), "x").await.unwrap();
        }
    };
    publish(0..100).await;
    assert!(publisher.drain(TIMEOUT).await);

    // Both sides change: the broker has another authority and another password.
    let renewed = authority();
    for name in ["broker.pem", "broker.key"] {
        fs::copy(renewed.dir().join(name), made.dir().join(name)).unwrap();
    }
    write_password_file(&passwords, "ann", "second");
    broker.restart();
    publish(100..200).await;
    assert!(!publisher.drain(Duration::from_millis(500)).await);
    fs::copy(renewed.ca(), &ca).unwrap();
    fs::write(&ours, "second\n").unwrap();
    assert!(publisher.drain(TIMEOUT).await, "{:?}", health.report());
    assert_eq!(publisher.close().await.acknowledged, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_pub_sub_works_over_tls() {
    let made = Certificates::new();
    made.issue("redis", &["localhost"]);
    let (_redis, port) = Redis::start_with_tls(&made, "no");
    let tls = RedisTls {
        ca_file: Some(made.ca()),
        ..RedisTls::default()
    };
    let (url, channels) = (
        format!("rediss://localhost:{port}"),
        Channels::Name("c".into()),
    );
    let settings = PubSubSettings::from_url(&url, &tls, channels.clone()).unwrap();
    let health = Health::default();
    let mut session = RedisSubscriber::start(&settings, health.dependency("redis_pubsub"));
    up(&health).await;
    let publisher = RedisPublisher::new(&settings, Health::default().dependency("redis"));
    assert_eq!(publisher.publish("c", b"over TLS").await.unwrap(), 1);
    let mut batch = Vec::new();
    let received = session.recv_batch(1, &mut batch);
    timeout(TIMEOUT, received).await.unwrap().unwrap();
    assert_eq!(batch[0].payload.as_ref(), b"over TLS");
    session.close().await;

    let other = RedisTls {
        ca_file: Some(Certificates::new().ca()),
        ..RedisTls::default()
    };
    let gone = PubSubSettings::from_url(&url, &other, channels).unwrap_err();
    assert!(gone.to_string().contains("REDIS_CA_FILE"), "{gone}");
}
