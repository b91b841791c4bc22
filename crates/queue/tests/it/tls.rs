//! TLS connections to a real Redis.

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::settings::{RedisSettings, RedisTls, Settings};
use model::Stage;
use queue::error::Cause;
use queue::redis::RedisQueue;
use queue::testing::redis_settings;
use queue::{Append, Queue, QueueError};
use testkit::{Certificates, Redis};

use crate::fixture::{items, settings, take};

fn authority() -> Certificates {
    let made = Certificates::new();
    made.issue("redis", &["localhost"]);
    made
}

fn trusting(ca: &Path, port: u16) -> RedisSettings {
    RedisSettings {
        redis_host: "localhost".into(),
        redis_tls: true,
        tls: RedisTls {
            ca_file: Some(ca.to_owned()),
            ..RedisTls::default()
        },
        ..redis_settings(port)
    }
}

fn queue(redis: &RedisSettings) -> RedisQueue {
    RedisQueue::new(&settings(), redis).unwrap()
}

fn append(range: std::ops::Range<usize>) -> Append {
    Append {
        raw: items(range),
        ..Append::default()
    }
}

/// Why the server can't be used.
async fn failure(redis: &RedisSettings) -> String {
    let error = queue(redis).append(&append(0..1)).await.unwrap_err();
    let QueueError::Unavailable { cause, detail } = error else {
        panic!("{error}");
    };
    assert_eq!(cause, Cause::Unreachable);
    detail
}

#[tokio::test]
async fn lists_work_over_tls() {
    let made = authority();
    let (redis, port) = Redis::start_with_tls(&made, "no");
    let mut given = trusting(&made.ca(), port);
    given.check().unwrap();
    let queue = queue(&given);
    queue.append(&append(0..5_000)).await.unwrap();
    take(&queue, Stage::Transformer).await;
    assert_eq!(redis.cli(&["LLEN", "raw_events"]), "5000");
}

#[tokio::test]
async fn what_is_wrong_is_reported_with_its_remedy() {
    let made = authority();
    let (redis, port) = Redis::start_with_tls(&made, "yes");
    let good = trusting(&made.ca(), port);
    let error = failure(&good).await;
    assert!(error.contains("REDIS_CERT_FILE"), "{error}");
    made.issue("sink", &[]);
    let mut with = good.clone();
    with.tls.cert_file = Some(made.certificate("sink"));
    with.tls.key_file = Some(made.key("sink"));
    queue(&with).append(&append(0..1)).await.unwrap();

    let other = Certificates::new();
    let error = failure(&trusting(&other.ca(), port)).await;
    assert!(error.contains("REDIS_CA_FILE"), "{error}");
    let mut by_address = with.clone();
    by_address.redis_host = "127.0.0.1".into();
    let error = failure(&by_address).await;
    assert!(error.contains("REDIS_SERVER_NAME"), "{error}");
    by_address.tls.server_name = Some("localhost".into());
    queue(&by_address).append(&append(1..2)).await.unwrap();

    let error = failure(&redis_settings(port)).await;
    assert!(error.contains("REDIS_TLS=true"), "{error}");
    let error = failure(&trusting(&made.ca(), redis.port())).await;
    assert!(
        error.contains("port for TLS") || error.contains("speak TLS"),
        "{error}"
    );
}

#[tokio::test]
async fn a_password_and_an_authority_that_change_are_read_at_the_next_connection() {
    let made = authority();
    let (mut redis, port) = Redis::start_with_tls(&made, "no");
    let (ours, ca) = (made.dir().join("ours"), made.dir().join("trusted.pem"));
    fs::write(&ours, "first\n").unwrap();
    fs::copy(made.ca(), &ca).unwrap();
    redis.add_option("--requirepass", "first");
    redis.restart();
    let mut given = trusting(&ca, port);
    given.redis_password_file = Some(ours.clone());
    given.check().unwrap();
    let queue = queue(&given);
    queue.append(&append(0..100)).await.unwrap();

    let renewed = authority();
    for name in ["redis.pem", "redis.key"] {
        fs::copy(renewed.dir().join(name), made.dir().join(name)).unwrap();
    }
    redis.add_option("--requirepass", "second");
    redis.restart();
    assert!(queue.append(&append(100..200)).await.is_err());
    let error = queue.append(&append(100..200)).await.unwrap_err();
    assert!(error.to_string().contains("REDIS_CA_FILE"), "{error}");
    fs::copy(renewed.ca(), &ca).unwrap();
    let error = queue.append(&append(100..200)).await.unwrap_err();
    assert!(matches!(error, QueueError::Denied(_)), "{error}");
    fs::write(&ours, "second\n").unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    queue.append(&append(100..200)).await.unwrap();
    let length = redis.try_cli(&["-a", "second", "--no-auth-warning", "LLEN", "raw_events"]);
    assert_eq!(length.as_deref(), Ok("200"));
}
