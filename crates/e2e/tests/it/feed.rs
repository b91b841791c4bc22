//! Files that `rigline feed` streams: each item enters once, though feed and ingester are killed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::clock::Clock;
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::redis::RedisQueue;
use queue::testing::{redis_settings, settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Launch, Redis, StageProcess, free_port, stage_binary, wait_until};

const SOON: Duration = Duration::from_mins(2);
const NAME: &str = "plant";
/// Every item whose number is a multiple of it isn't JSON.
const BAD: i64 = 100;

const FILE: &str = r#"
name = "plant"

[source]
kind = "http-stream"
url = "${FEED_URL}"
token = "${FEED_TOKEN:-}"

[message]
tags = { id = "/id" }
fields = { val = "/val" }
time = "/time"
"#;

/// An array of items with these numbers.
fn array(numbers: std::ops::Range<i64>) -> String {
    let now = Clock::system().now().seconds();
    let item = |number: i64| {
        if number % BAD == 0 {
            return format!("bad-{number}");
        }
        json!({ "id": number % 20, "val": number, "time": now - 3_600 + number / 10 }).to_string()
    };
    let items: Vec<_> = numbers.map(item).collect();
    format!("[\n{}\n]\n", items.join(",\n"))
}

/// How many of these numbers are items that can be used.
fn good(numbers: std::ops::Range<i64>) -> i64 {
    i64::try_from(numbers.filter(|number| number % BAD != 0).count()).unwrap()
}

fn start_feed(file: &Path, port: u16) -> StageProcess {
    Launch::binary(&stage_binary("rigline"))
        .args(&["feed", &format!("metrics={}", file.display())])
        .args(&["--interval", "1ms", "--token", "secret"])
        .env("FEED_ADDR", &format!("127.0.0.1:{port}"))
        .spawn()
}

async fn ledger(redis: &Redis) -> Ledger {
    let queue = RedisQueue::new(&settings().of_pipeline(NAME), &redis_settings(redis.port()));
    queue.unwrap().snapshot().await.unwrap().ledger
}

async fn wait_for_accepted(redis: &Redis, count: i64, ingester: &StageProcess) {
    let started = Instant::now();
    while ledger(redis).await.get(Counter::Accepted) < count {
        assert!(started.elapsed() < SOON, "{}", ingester.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The numbers in the raw list, in its order.
fn numbers(redis: &Redis) -> Vec<i64> {
    let elements = redis.cli(&["LRANGE", "plant:raw_events", "0", "-1"]);
    let number = |element: &str| {
        let element: Value = serde_json::from_str(element).unwrap();
        let value = element["values"]["val"].as_f64().unwrap();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "they were made of integers"
        )]
        let number = value as i64;
        number
    };
    elements.lines().map(number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_item_enters_once_in_order_though_feed_and_ingester_are_killed() {
    const COUNT: i64 = 6_000;
    let dir = TempDir::with_prefix("feed-").unwrap();
    let (file, pipeline) = (dir.path().join("m.json"), dir.path().join("plant.toml"));
    fs::write(&file, array(0..COUNT)).unwrap();
    fs::write(&pipeline, FILE).unwrap();
    let (redis, port) = (Redis::start(), free_port());
    let start = || {
        Launch::stage("ingester")
            .env("PIPELINES", &pipeline.display().to_string())
            .env("FEED_URL", &format!("http://127.0.0.1:{port}/metrics"))
            .env("FEED_TOKEN", "secret")
            .env("REDIS_HOST", "127.0.0.1")
            .env("REDIS_PORT", &redis.port().to_string())
            // Small batches, so that a kill falls between two of them.
            .env("BATCH", "20")
            // A killed one's lease ends soon.
            .env("LEASE", "2s")
            .spawn()
    };
    let mut ingester = start();
    let is_waiting = || ingester.get("/readyz").contains("metrics can't be read");
    assert!(wait_until(SOON, is_waiting), "{}", ingester.logs());
    let mut feed = start_feed(&file, port);
    for round in 1..=6 {
        wait_for_accepted(&redis, round * 700, &ingester).await;
        if round % 2 == 0 {
            feed.kill();
            feed = start_feed(&file, port);
        } else {
            ingester.kill();
            ingester = start();
        }
    }
    let before_the_end = ledger(&redis).await.get(Counter::Accepted);
    assert!(
        before_the_end < good(0..COUNT),
        "all kills were in the middle"
    );
    wait_for_accepted(&redis, good(0..COUNT), &ingester).await;
    assert!(wait_until(SOON, || ingester.ready(Duration::from_secs(1))));
    let expected = |range: std::ops::Range<i64>| range.filter(|number| number % BAD != 0);
    let found = numbers(&redis);
    assert!(found.iter().copied().eq(expected(0..COUNT)), "{found:?}");
    let letters = || redis.cli(&["LLEN", "plant:dead_letters"]);
    assert_eq!(letters(), (COUNT / BAD).to_string());
    let letter = redis.cli(&["LINDEX", "plant:dead_letters", "1"]);
    assert!(
        letter.contains("bad-100") && letter.contains("not_json"),
        "{letter}"
    );

    // Another file takes the place of the first one.
    let new = dir.path().join("new");
    fs::write(&new, array(COUNT..COUNT + 150)).unwrap();
    fs::rename(new, &file).unwrap();
    wait_for_accepted(&redis, good(0..COUNT + 150), &ingester).await;
    ingester.terminate();
    assert!(
        ingester
            .wait_exit(SOON)
            .is_some_and(|ended| ended.success())
    );
    assert!(numbers(&redis).into_iter().eq(expected(0..COUNT + 150)));
    let logs = ingester.logs();
    let url = format!("the file behind http://127.0.0.1:{port}/metrics has been replaced");
    assert!(logs.contains(&url), "{logs}");
    assert!(!logs.contains("ERROR"), "{logs}");
    drop(feed);
}
