//! Brokers that are away, want a login, or have other topics.

use std::time::{Duration, Instant};

use common::settings::KafkaTls;
use store::{KafkaStore, TransactionalStore, WriteError};
use testkit::{Certificates, KAFKA_PASSWORD, KAFKA_USER, Kafka};

use super::{numbers, pipeline, store_of, url, write};

const SOON: Duration = Duration::from_mins(1);

/// Opens the store again. A broker that has just started may still be busy with the last transaction.
async fn open_again(store: &mut KafkaStore) -> Option<String> {
    let started = Instant::now();
    loop {
        match store.open().await {
            Err(WriteError::Retry { .. }) if started.elapsed() < SOON => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

#[tokio::test]
async fn broker_that_is_away_is_a_reason_to_wait() {
    let mut broker = Kafka::start();
    let file = pipeline(&url(&broker), "partitions = 1");
    let mut store = store_of(&file);
    store.open().await.unwrap();
    write(&mut store, 0..10).await.unwrap();
    broker.kill();
    for is_open in [true, false] {
        assert_eq!(store.is_open(), is_open);
        let error = write(&mut store, 10..20).await.unwrap_err();
        assert!(matches!(error, WriteError::Retry { .. }), "{error}");
    }
    let error = store.open().await.unwrap_err();
    assert!(matches!(error, WriteError::Retry { .. }), "{error}");
    assert!(error.to_string().contains("Kafka at 127.0.0.1"), "{error}");
    broker.restart();
    assert_eq!(open_again(&mut store).await.as_deref(), Some("up to 10"));
    write(&mut store, 10..20).await.unwrap();
    assert_eq!(numbers(&broker, &file), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn topic_that_nobody_made_is_named() {
    let broker = Kafka::shared();
    let file = pipeline(&url(broker), "");
    let mut store = store_of(&file);
    let error = store.open().await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("no topic {:?}", *file.name)),
        "{error}"
    );
    broker.create_topic(&file.name, 2);
    open_again(&mut store).await;
    write(&mut store, 0..10).await.unwrap();
    assert_eq!(numbers(broker, &file), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn topic_that_is_made_again_is_written_to() {
    let broker = Kafka::shared();
    let file = pipeline(&url(broker), "partitions = 1");
    let mut store = store_of(&file);
    store.open().await.unwrap();
    write(&mut store, 0..10).await.unwrap();
    broker.delete_topic(&file.name);
    broker.create_topic(&file.name, 1);
    // The first transaction may fail, and then the client asks for the topic again.
    for attempt in 0.. {
        if !store.is_open() {
            assert_eq!(open_again(&mut store).await.as_deref(), Some("up to 10"));
        }
        match write(&mut store, 10..20).await {
            Ok(()) => break,
            Err(error) => assert!(attempt < 3, "{error}"),
        }
    }
    assert_eq!(numbers(broker, &file), (10..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn logins_and_tls_are_used() {
    let certificates = Certificates::new();
    let broker = Kafka::start_secured(&certificates);
    let tls = KafkaTls {
        ca_file: Some(certificates.ca()),
        ..KafkaTls::default()
    };
    let plain = format!("kafka://localhost:{}", broker.sasl_port());
    let secured = format!("kafkas://localhost:{}", broker.sasl_tls_port());
    for (url, mechanism) in [
        (&plain, "plain"),
        (&plain, "scram-sha-256"),
        (&secured, "scram-sha-512"),
    ] {
        let login = |password: &str| {
            let more = format!(
                "partitions = 1\nuser = \"{KAFKA_USER}\"\npassword = \"{password}\"\nmechanism = \"{mechanism}\""
            );
            pipeline(url, &more)
        };
        let file = login(KAFKA_PASSWORD);
        let mut store = KafkaStore::of_file(&file, &file.store[0], &tls).unwrap();
        open_again(&mut store).await;
        write(&mut store, 0..3).await.unwrap();
        assert_eq!(numbers(&broker, &file), [0, 1, 2]);
        let file = login("another");
        let mut store = KafkaStore::of_file(&file, &file.store[0], &tls).unwrap();
        let opened = tokio::time::timeout(Duration::from_mins(1), store.open()).await;
        let error = opened.unwrap().unwrap_err();
        assert!(matches!(error, WriteError::Denied { .. }), "{error}");
    }
}
