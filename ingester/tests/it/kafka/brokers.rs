//! Brokers that end, that want a login, or that lack the topic.

use std::time::Duration;

use common::settings::KafkaTls;
use queue::testing::Running;
use testkit::{Certificates, KAFKA_PASSWORD, KAFKA_USER, Kafka, wait_until};

use super::{Topic, accepted, numbers, pipeline_with, records, start, start_with_tls};

/// The last error of the dependency `kafka`.
fn last_error(stage: &Running) -> String {
    stage.last_error("kafka").unwrap_or_default()
}

fn wait_for_error(stage: &Running, words: &str) {
    let found = wait_until(Duration::from_mins(1), || last_error(stage).contains(words));
    assert!(found, "{words:?} is not in {:?}", last_error(stage));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_broker_is_read_on_when_it_is_back() {
    let mut broker = Kafka::start();
    let topic = Topic::new(&broker, 2);
    let queue = topic.queue();
    broker.produce(&topic.name, &records(0..2_000));
    let stage = start(&queue, &topic);
    queue.wait_for(|ledger| ledger.raw > 0).await;
    broker.kill();
    broker.restart_without_waiting();
    broker.wait_until_ready();
    accepted(&queue, 2_000).await;
    broker.kill();
    wait_for_error(&stage, "Kafka at 127.0.0.1");
    broker.restart_without_waiting();
    broker.wait_until_ready();
    broker.produce(&topic.name, &records(2_000..2_100));
    accepted(&queue, 2_100).await;
    stage.stop().await;
    let mut found = numbers(&queue);
    found.sort_unstable();
    assert!(found.into_iter().eq(0..2_100), "each record once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_that_is_made_later_is_read_then() {
    let broker = Kafka::shared();
    let topic = Topic::without_topic(broker, "made-later");
    let queue = topic.queue();
    let stage = start(&queue, &topic);
    wait_for_error(&stage, "there is no topic \"made-later\"");
    broker.create_topic("made-later", 1);
    broker.produce("made-later", &records(0..10));
    accepted(&queue, 10).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_and_tls_are_as_the_file_says() {
    let certificates = Certificates::new();
    let broker = Kafka::start_secured(&certificates);
    broker.create_topic("secured", 1);
    broker.produce("secured", &records(0..10));
    let trusted = KafkaTls {
        ca_file: Some(certificates.ca()),
        ..KafkaTls::default()
    };
    let (plain, tls) = (broker.sasl_port(), broker.sasl_tls_port());
    for (scheme, port, mechanism) in [
        ("kafka", plain, "plain"),
        ("kafka", plain, "scram-sha-256"),
        ("kafkas", tls, "plain"),
        ("kafkas", tls, "scram-sha-512"),
    ] {
        let login = format!(
            "user = {KAFKA_USER:?}\npassword = {KAFKA_PASSWORD:?}\nmechanism = {mechanism:?}\n\
             group = \"{scheme}-{mechanism}\""
        );
        let topic = Topic::at("secured", &format!("{scheme}://localhost:{port}"), &login);
        let queue = topic.queue();
        let stage = start_with_tls(&queue, &topic, &trusted);
        accepted(&queue, 10).await;
        stage.stop().await;
    }
    for (scheme, port, login, tls, words) in [
        (
            "kafka",
            plain,
            "password = \"wrong\"",
            &trusted,
            "uthentication",
        ),
        (
            "kafkas",
            tls,
            "password = \"wrong\"",
            &trusted,
            "uthentication",
        ),
        (
            "kafkas",
            tls,
            "password = \"wrong\"",
            &KafkaTls::default(),
            "KAFKA_CA_FILE",
        ),
    ] {
        let login = format!("user = {KAFKA_USER:?}\n{login}");
        let topic = Topic::at("secured", &format!("{scheme}://localhost:{port}"), &login);
        let queue = topic.queue();
        let stage = start_with_tls(&queue, &topic, tls);
        wait_for_error(&stage, words);
        assert!(
            !last_error(&stage).contains("wrong"),
            "{}",
            last_error(&stage)
        );
        stage.stop().await;
    }
}

#[test]
fn names_and_ports_of_brokers_are_checked() {
    for (url, words) in [
        ("http://localhost:9092", "kafka://"),
        ("kafka://", "isn't host:port"),
        ("kafka://a:9092,", "isn't host:port"),
        ("kafka://me:secret@a:9092", "keys of their own"),
        ("kafka://a:9092/topic", "isn't host:port"),
    ] {
        let refused = pipeline_with("t", url, "").unwrap_err();
        assert!(refused.to_string().contains(words), "{url}: {refused}");
    }
    for url in ["kafka://a", "kafka://a:9092,b:9093/", "kafkas://[::1]:9092"] {
        assert!(pipeline_with("t", url, "").is_ok(), "{url}");
    }
}
