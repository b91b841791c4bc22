//! A pipeline that reads Kafka: each record enters once, though the ingester and the broker are killed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::clock::Clock;
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::redis::RedisQueue;
use queue::testing::{assert_exact, redis_settings, settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{InfluxDb, Kafka, Launch, Redis, StageProcess, influxdb, wait_until};

use crate::readings::all_stored;

const SOON: Duration = Duration::from_mins(2);
const NAME: &str = "press";

const FILE: &str = r#"
name = "press"

[source]
kind = "kafka"
url = "${KAFKA_URL}"
topic = "press"

[message]
tags = { device = "/device" }
fields = { number = "/number" }
time = "/time"
"#;

fn file_in(dir: &Path) -> PathBuf {
    let path = dir.join("press.toml");
    std::fs::write(&path, FILE).unwrap();
    path
}

/// Records with these numbers, each a row of its own.
fn records(numbers: std::ops::Range<i64>) -> Vec<Value> {
    let now = Clock::system().now().nanos() / 1_000_000;
    let record = |number: i64| {
        let device = format!("device-{}", number % 3);
        let value = json!({ "device": device, "number": number, "time": now - 600_000 + number });
        json!({ "key": device, "value": value.to_string() })
    };
    numbers.map(record).collect()
}

/// The pipeline file and the servers, as variables of a stage.
fn servers(path: &Path, broker: &Kafka, redis: &Redis) -> [(&'static str, String); 4] {
    [
        ("PIPELINES", path.display().to_string()),
        ("KAFKA_URL", format!("kafka://127.0.0.1:{}", broker.port())),
        ("REDIS_HOST", "127.0.0.1".to_owned()),
        ("REDIS_PORT", redis.port().to_string()),
    ]
}

async fn ledger(redis: &Redis) -> Ledger {
    let queue = RedisQueue::new(&settings().of_pipeline(NAME), &redis_settings(redis.port()));
    queue.unwrap().snapshot().await.unwrap().ledger
}

async fn wait_for_accepted(redis: &Redis, count: i64, ingester: &StageProcess) {
    let started = Instant::now();
    while ledger(redis).await.get(Counter::Accepted) < count {
        assert!(started.elapsed() < SOON, "{}", ingester.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_enters_once_though_ingester_and_broker_are_killed() {
    let (mut broker, redis, influx) = (Kafka::start(), Redis::start(), InfluxDb::shared());
    broker.create_topic("press", 3);
    let bucket = influx.create_bucket(None);
    let dir = TempDir::with_prefix("kafka-").unwrap();
    let path = file_in(dir.path());
    let url = influx.url();
    let of_influx = [
        ("INFLUX_URL", &*url),
        ("INFLUX_ORG", influxdb::ORG),
        ("INFLUX_TOKEN", influxdb::TOKEN),
        ("INFLUX_BUCKET", &bucket),
        // Small batches, so that a kill falls between two of them.
        ("BATCH", "20"),
    ];
    let servers = servers(&path, &broker, &redis);
    let start = |name: &str| Launch::stage(name).envs(&servers).envs(&of_influx).spawn();
    let mut ingester = start("ingester");
    let others = ["transformer", "sink"].map(start);
    let mut sent = 0;
    for round in 0..6 {
        broker.produce("press", &records(sent..sent + 500));
        // Somewhere in the middle of them.
        wait_for_accepted(&redis, sent + 40 * round, &ingester).await;
        sent += 500;
        if round % 3 == 2 {
            broker.kill();
            broker.restart_without_waiting();
            broker.wait_until_ready();
        } else {
            ingester.kill();
            ingester = start("ingester");
        }
    }
    wait_for_accepted(&redis, sent, &ingester).await;
    let started = Instant::now();
    loop {
        let now = ledger(&redis).await;
        if all_stored(&now) {
            assert_exact(&now);
            assert_eq!(
                now.get(Counter::Accepted),
                sent,
                "each record once: {now:#?}"
            );
            break;
        }
        assert!(started.elapsed() < SOON, "{now:#?}\n{}", others[1].logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut numbers: Vec<f64> = influx
        .points(&bucket)
        .iter()
        .map(|point| point.value)
        .collect();
    numbers.sort_unstable_by(f64::total_cmp);
    let expected = (0..sent).map(|number| f64::from(i32::try_from(number).unwrap()));
    assert!(numbers.into_iter().eq(expected));
    assert!(!ingester.logs().contains("ERROR"), "{}", ingester.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_that_starts_late_is_no_error() {
    let dir = TempDir::with_prefix("kafka-").unwrap();
    let path = file_in(dir.path());
    let (redis, mut broker) = (Redis::start(), Kafka::start());
    broker.create_topic("press", 1);
    broker.produce("press", &records(0..10));
    broker.stop();
    let ingester = Launch::stage("ingester");
    let ingester = ingester.envs(&servers(&path, &broker, &redis)).spawn();
    let is_waiting = || ingester.get("/readyz").contains("Kafka at 127.0.0.1");
    assert!(wait_until(SOON, is_waiting), "{}", ingester.logs());
    broker.restart();
    wait_for_accepted(&redis, 10, &ingester).await;
    assert!(wait_until(SOON, || ingester.ready(Duration::from_secs(1))));
    assert!(!ingester.logs().contains("ERROR"), "{}", ingester.logs());
}
