//! Measures the reading commands on a month of rows and on a full list of dead letters:
//! `bench-inspect DAYS SENSORS LETTERS BINARY...`. Prints a table for docs/benchmarks.md, with a column for each
//! binary `rigline`, so that two versions are measured on the same data in the same minutes.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a tool for developers"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::clock::Clock;
use e2e::filled::fill_store;
use model::dead_letter::{Reason, Rejection, encode};
use model::{Stage, Timestamp};
use queue::redis::RedisQueue;
use queue::sqlite::SqliteQueue;
use queue::{Append, Queue};
use testkit::{Redis, target_dir};

const RIGS: usize = 10;
/// Dead letters per append.
const BATCH: usize = 20_000;
/// How often each command is run; the median counts.
const RUNS: usize = 9;

const OF_FILES: [&[&str]; 11] = [
    &["rows", "--limit", "20"],
    &["rows", "RIG-7", "--limit", "20", "--last", "30d"],
    &[
        "rows",
        "--limit",
        "20",
        "--last",
        "30d",
        "--sensors",
        "temp_inlet",
    ],
    &["rows", "--last", "1m"],
    &["rows", "RIG-7"],
    &["rows"],
    &["rows", "--format", "csv"],
    &["rigs"],
    &["ledger"],
    &["dlq", "list"],
    &["dlq", "list", "--reason", "future"],
];
const OF_REDIS: [&[&str]; 3] = [
    &["ledger", "--redis"],
    &["dlq", "list", "--redis"],
    &["dlq", "list", "--redis", "--reason", "future"],
];

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |default: usize| args.next().map_or(Some(default), |text| text.parse().ok());
    let (Some(days), Some(sensors), Some(letters)) = (number(30), number(1), number(100_000))
    else {
        println!("bench-inspect DAYS SENSORS LETTERS BINARY...");
        return;
    };
    let mut binaries: Vec<PathBuf> = args.map(PathBuf::from).collect();
    if binaries.is_empty() {
        binaries.push(target_dir().join("release/rigline"));
    }
    let dir = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(target_dir());
    let dir = dir.expect("a directory below target");
    let now = Clock::system().now().tick(Duration::from_secs(1));
    let seconds = days * 24 * 3_600;
    let rows = fill_store(dir.path(), RIGS, seconds, sensors, now).await;
    let bytes = dir
        .path()
        .join("store.db")
        .metadata()
        .map_or(0, |data| data.len());
    println!(
        "{rows} rows of {RIGS} rigs, {} values, {days} days; store.db {} MB; {letters} dead letters",
        rows * sensors,
        bytes / 1_000_000
    );
    let queue = SqliteQueue::open(
        &dir.path().join("queue.db"),
        &queue::testing::settings(),
        Clock::system(),
    );
    fill_letters(&queue.expect("a queue"), letters, now).await;
    let redis = Redis::start();
    let settings = queue::testing::redis_settings(redis.port());
    let queue = RedisQueue::new(&queue::testing::settings(), &settings);
    fill_letters(&queue.expect("a queue"), letters, now).await;

    println!("\n| command | {} |", vec!["ms"; binaries.len()].join(" | "));
    println!("| --- | {} |", vec!["---"; binaries.len()].join(" | "));
    for command in OF_FILES.into_iter().chain(OF_REDIS) {
        let cells: Vec<String> = binaries
            .iter()
            .map(|binary| {
                let seen = measure(binary, command, dir.path(), redis.port());
                format!("{:.0}", seen.as_secs_f64() * 1e3)
            })
            .collect();
        println!("| `{}` | {} |", command.join(" "), cells.join(" | "));
    }
}

/// The median time of a command, from its start to its end.
fn measure(binary: &Path, args: &[&str], dir: &Path, redis: u16) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let mut command = Command::new(binary);
            command
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            if args.contains(&"--redis") {
                command.env("REDIS_HOST", "127.0.0.1");
                command.env("REDIS_PORT", redis.to_string());
            } else {
                command.env("RIGLINE_DATA", dir);
            }
            let started = Instant::now();
            let ended = command.output().expect("the binary");
            let took = started.elapsed();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "{args:?}: {said}");
            took
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

/// Appends dead letters, one in a thousand of them with the reason `future`.
async fn fill_letters(queue: &impl Queue, letters: usize, now: Timestamp) {
    let mut dead = Vec::with_capacity(BATCH);
    for number in 0..letters {
        let (reason, detail) = match number % 1_000 {
            0 => (
                Reason::Future,
                "the timestamp is 3600 s ahead of its arrival",
            ),
            1..400 => (
                Reason::BadValue,
                "\"value\" is neither a number nor a string with one",
            ),
            _ => (Reason::NotJson, "expected value at line 1 column 1"),
        };
        let payload = format!(
            "{{\"timestamp\": \"{now}\", \"value\": \"offline\", \"device\": \"gateway {}\"}}",
            number % 97
        );
        let topic = format!("rigs/RIG-{}/measurements/temp_outlet", number % RIGS);
        let rejection = Rejection::new(reason, detail);
        let letter = encode(Stage::Ingester, &rejection, &topic, payload.as_bytes(), now);
        dead.push(letter);
        if dead.len() == BATCH || number + 1 == letters {
            let append = Append {
                raw: Vec::new(),
                dead: std::mem::take(&mut dead),

                ..Append::default()
            };
            let appended = queue.append(&append).await;
            appended.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
