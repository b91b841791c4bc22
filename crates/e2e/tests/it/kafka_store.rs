//! A pipeline that writes to Kafka: each row is there once, though sinks and the broker are killed and sinks stall.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::clock::Clock;
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::redis::RedisQueue;
use queue::testing::{assert_exact, redis_settings, settings};
use serde_json::Value;
use testkit::{Kafka, Launch, Mosquitto, Redis, StageProcess};

use crate::readings::all_stored;

const SOON: Duration = Duration::from_mins(2);
const NAME: &str = "press";

const FILE: &str = r#"
name = "press"

[source]
topic = "press/{device}"

[message]
fields = { number = "/number" }
time = "/time"

[rows]
shape = "sample"

[[store]]
kind = "kafka"
url = "${KAFKA_URL}"
topic = "press"
partitions = 3
"#;

/// Publishes messages with these numbers, each a row of its own.
fn publish(broker: &Mosquitto, numbers: std::ops::Range<i64>, start: i64) {
    let mut lines = String::new();
    for number in numbers {
        let time = start + number;
        writeln!(lines, r#"{{"number":{number},"time":{time}}}"#).unwrap();
    }
    let mut client = broker.client("mosquitto_pub");
    client.args(["-q", "1", "-t", "press/a", "-l"]);
    let mut client = client.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    assert!(client.wait().unwrap().success());
}

async fn ledger(redis: &Redis) -> Ledger {
    let queue = RedisQueue::new(&settings().of_pipeline(NAME), &redis_settings(redis.port()));
    queue.unwrap().snapshot().await.unwrap().ledger
}

async fn wait_for_stored(redis: &Redis, count: i64, sinks: &[StageProcess]) {
    let started = Instant::now();
    while ledger(redis).await.get(Counter::RowsStored) < count {
        assert!(
            started.elapsed() < SOON,
            "{:#?}\n{}",
            ledger(redis).await,
            sinks[0].logs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The numbers of all committed records.
fn numbers(broker: &Kafka) -> Vec<i64> {
    let decode = |record: &Value| {
        use base64::Engine;
        let engine = base64::engine::general_purpose::STANDARD;
        let value = engine.decode(record["value"].as_str().unwrap()).unwrap();
        let value: Value = serde_json::from_slice(&value).unwrap();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "they were made of integers"
        )]
        let number = value["number"].as_f64().unwrap() as i64;
        number
    };
    let mut numbers: Vec<_> = broker.consume("press").iter().map(decode).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_is_in_kafka_once_though_sinks_and_the_broker_are_killed() {
    let (mut broker, redis, mqtt) = (Kafka::start(), Redis::start(), Mosquitto::start());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("press.toml");
    std::fs::write(&path, FILE).unwrap();
    let env = [
        ("PIPELINES", path.display().to_string()),
        ("KAFKA_URL", format!("kafka://127.0.0.1:{}", broker.port())),
        ("REDIS_HOST", "127.0.0.1".to_owned()),
        ("REDIS_PORT", redis.port().to_string()),
        ("MQTT_HOST", "127.0.0.1".to_owned()),
        ("MQTT_PORT", mqtt.port().to_string()),
        // Small batches, so that a kill falls between two of them.
        ("BATCH", "40".to_owned()),
        ("LEASE", "1s".to_owned()),
    ];
    let start = |name: &str| Launch::stage(name).envs(&env).spawn();
    let others = ["ingester", "transformer"].map(start);
    let mut sinks = vec![start("sink"), start("sink")];
    for stage in others.iter().chain(&sinks) {
        assert!(stage.ready(SOON), "{}", stage.logs());
    }
    let first = Clock::system().now().nanos() / 1_000_000 - 600_000;
    let mut sent = 0;
    for round in 0..4 {
        publish(&mqtt, sent..sent + 400, first);
        // Somewhere in the middle of them.
        wait_for_stored(&redis, sent + 40 * round, &sinks).await;
        sent += 400;
        match round % 4 {
            0 | 2 => {
                sinks.remove(0).kill();
                sinks.push(start("sink"));
            }
            // It wakes up when the other one has its lease and has written.
            1 => {
                sinks[0].freeze();
                wait_for_stored(&redis, sent, &sinks[1..]).await;
                sinks[0].thaw();
            }
            _ => {
                broker.kill();
                broker.restart();
            }
        }
    }
    wait_for_stored(&redis, sent, &sinks).await;
    let now = ledger(&redis).await;
    assert!(all_stored(&now), "{now:#?}");
    assert_exact(&now);
    assert_eq!(now.get(Counter::RowsStored), sent);
    assert_eq!(numbers(&broker), (0..sent).collect::<Vec<_>>());
    for sink in &sinks {
        assert!(!sink.logs().contains("ERROR"), "{}", sink.logs());
    }
}
