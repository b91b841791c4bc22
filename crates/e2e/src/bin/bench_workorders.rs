//! System 4 at its full speed: items of a file go from the HTTP API into PostgreSQL, and a report is made of the tables.
//! Prints lines for docs/benchmarks.md. The first argument is the number of metrics, 1,000,000 unless given.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for developers"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::measure::{cpu_us, peak_memory_mib};
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::redis::RedisQueue;
use queue::testing::{assert_exact, redis_settings, settings};
use tempfile::TempDir;
use testkit::{Launch, Postgres, Redis, StageProcess, free_port, stage_binary};

const METRICS: &str = "1000000";
const PRODUCTS: i64 = 20;
/// Work orders of each product.
const ORDERS: i64 = 5_000;
/// Three that follow each product.
const PARAMETERS: &str = "60";
const STAGES: [&str; 3] = ["ingester", "transformer", "sink"];
const LIMIT: Duration = Duration::from_mins(30);

#[tokio::main]
async fn main() {
    if cfg!(debug_assertions) {
        println!("measure a release build: make bench");
        return;
    }
    let metrics = std::env::args().nth(1).unwrap_or_else(|| METRICS.into());
    let count: i64 = metrics.parse().expect("a number of metrics");
    let dir = TempDir::with_prefix("bench-").expect("a directory");
    example(dir.path(), &metrics);
    let (redis, postgres, port) = (Redis::start(), Postgres::start(), free_port());
    let file = |name: &str, file: &str| format!("{name}={}", dir.path().join(file).display());
    let feed = Launch::binary(&stage_binary("rigline"))
        .args(&["feed", &file("metrics", "metrics.json")])
        .args(&[&file("workorders", "workorder.json"), "--speed", "max"])
        .env("FEED_ADDR", &format!("127.0.0.1:{port}"))
        .spawn();
    let started = Instant::now();
    let stages = STAGES.map(|name| stage(name, &redis, &postgres, port));
    for (pipeline, items) in [("metrics", count), ("workorders", PRODUCTS * ORDERS)] {
        let ledger = stored(&redis, pipeline, items).await;
        assert_exact(&ledger);
        assert_eq!(ledger.dead, 0, "{ledger:#?}");
        let rows = postgres.query(&format!("SELECT count(*) FROM {pipeline}"));
        assert_eq!(rows, ledger.get(Counter::InRows).to_string());
        println!(
            "{items} items of {pipeline} are {rows} rows {:.1} s after the start of the stages, {:.0} items/s",
            started.elapsed().as_secs_f64(),
            per_second(items, started.elapsed())
        );
    }
    let items = f64::from(u32::try_from(count + PRODUCTS * ORDERS).expect("a count"));
    let mut line = String::from("CPU µs an item:");
    let processes = [("feed", &feed)].into_iter();
    for (name, process) in processes.chain(STAGES.into_iter().zip(&stages)) {
        let cpu = cpu_us(process.pid()) / items;
        let peak = peak_memory_mib(process.pid()).unwrap_or(f64::NAN);
        write!(line, " {name} {cpu:.1} (peak {peak:.0} MiB)").expect("a string");
    }
    println!("{line}");
    drop((stages, feed));
    report(&postgres, dir.path());
}

fn example(dir: &Path, metrics: &str) {
    let status = Command::new(stage_binary("rigline"))
        .args(["report", "example", "--metrics", metrics])
        .args(["--products", &PRODUCTS.to_string()])
        .args(["--orders", &ORDERS.to_string()])
        .args(["--parameters", PARAMETERS, "--out"])
        .arg(dir)
        .status();
    assert!(status.expect("rigline").success(), "no files");
}

fn stage(name: &str, redis: &Redis, postgres: &Postgres, feed: u16) -> StageProcess {
    Launch::stage(name)
        .env("PIPELINES", "metrics,workorders")
        .env("METRICS_URL", &format!("http://127.0.0.1:{feed}/metrics"))
        .env(
            "WORKORDERS_URL",
            &format!("http://127.0.0.1:{feed}/workorders"),
        )
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", &redis.port().to_string())
        .env("POSTGRES_HOST", "127.0.0.1")
        .env("POSTGRES_PORT", &postgres.port().to_string())
        .env("POSTGRES_DB", "postgres")
        .spawn()
}

/// Waits until this many items have become readings and all of them are stored.
async fn stored(redis: &Redis, pipeline: &str, items: i64) -> Ledger {
    let settings = settings().of_pipeline(pipeline);
    let queue = RedisQueue::new(&settings, &redis_settings(redis.port())).expect("a queue");
    let started = Instant::now();
    loop {
        let ledger = queue.snapshot().await.expect("Redis").ledger;
        let taken = ledger.get(Counter::Accepted);
        if taken >= items
            && ledger.raw == 0
            && ledger.normalized == 0
            && ledger.get(Counter::OpenReadings) == 0
        {
            return ledger;
        }
        assert!(started.elapsed() < LIMIT, "{ledger:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes a report of the tables, and prints how long it took and how much memory.
fn report(postgres: &Postgres, dir: &Path) {
    let started = Instant::now();
    let mut child = Command::new(stage_binary("rigline"))
        .args(["report", "correlations", "--out"])
        .arg(dir.join("reports"))
        .args(["--postgres-url", &postgres.url()])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("rigline");
    let mut peak = 0.0;
    let status = loop {
        peak = peak_memory_mib(child.id()).unwrap_or(peak);
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    let seconds = started.elapsed().as_secs_f64();
    println!("a report of both tables: {seconds:.1} s, peak {peak:.0} MiB");
}

fn per_second(items: i64, elapsed: Duration) -> f64 {
    f64::from(u32::try_from(items).expect("a count")) / elapsed.as_secs_f64()
}
