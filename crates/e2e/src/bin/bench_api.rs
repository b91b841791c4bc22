//! Measures the HTTP API of `rigline up` on a month of rows, beside the `sqlite3` shell on the same file:
//! `bench-api [DAYS]`. Prints a table for docs/benchmarks.md.
//!
//! A request's time is from its connection to the end of its response; the shell's is from its start to its end. Both
//! are medians, and each shell query runs right behind its request, so that their ratio is of the same minutes.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for developers"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::clock::Clock;
use e2e::filled::fill_store;
use e2e::measure::median;
use model::Timestamp;
use tempfile::TempDir;
use testkit::{Launch, StageProcess, http_get, target_dir};

/// Rigs of the month of rows.
const RIGS: usize = 10;
/// Rigs of the store whose newest values are read.
const MANY: usize = 1_000;
/// Seconds of rows of these.
const OF_MANY: usize = 600;
/// How often each request is sent.
const RUNS: usize = 21;

/// A store that a process serves.
struct Served {
    process: StageProcess,
    dir: TempDir,
    port: u16,
    rows: usize,
}

impl Served {
    async fn start(rigs: usize, seconds: usize, now: Timestamp) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(target_dir())
            .expect("a directory below target");
        let rows = fill_store(dir.path(), rigs, seconds, 1, now).await;
        let process = Launch::binary(&target_dir().join("release/rigline"))
            .args(&["up"])
            .env("RIGLINE_DATA", &dir.path().display().to_string())
            .env("MQTT_LISTEN", "127.0.0.1:0")
            .env("RETENTION", "0")
            .spawn();
        assert!(process.ready(Duration::from_mins(1)), "{}", process.logs());
        let logs = process.logs();
        let (_, address) = logs.split_once("http://").expect("the API's address");
        let port = address.split([':', '/']).nth(1).expect("a port");
        let port = port.parse().expect("a port");
        Self {
            process,
            dir,
            port,
            rows,
        }
    }

    /// Prints a line of the table.
    fn measure(&self, what: &str, path: &str, asked: &str, sql: &str) {
        let file = self.dir.path().join("store.db");
        let (mut api, mut shell, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..RUNS {
            let started = Instant::now();
            let (status, body) = http_get(self.port, path).expect("a response");
            api.push(started.elapsed().as_secs_f64() * 1e3);
            assert_eq!(status, 200, "{path}: {body}");
            bytes = body.len();
            shell.push(in_shell(&file, sql).as_secs_f64() * 1e3);
        }
        let (api, shell) = (median(api), median(shell));
        let ratio = api / shell;
        println!("| {what} | {api:.1} | {asked} | {ratio:.2} of {shell:.1} | {bytes} |");
    }
}

/// The time of a query in the `sqlite3` shell.
fn in_shell(file: &Path, sql: &str) -> Duration {
    let started = Instant::now();
    let ended = Command::new("sqlite3")
        .args(["-readonly", "-batch"])
        .arg(file)
        .arg(sql)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .output()
        .expect("sqlite3, of the package sqlite3");
    let took = started.elapsed();
    assert!(
        ended.status.success() && !ended.stdout.is_empty(),
        "{ended:?}"
    );
    took
}

#[tokio::main]
async fn main() {
    let days = std::env::args().nth(1).map_or(Ok(30), |days| days.parse());
    let Ok(days) = days else {
        println!("bench-api [DAYS]");
        return;
    };
    let days: usize = days;
    let now = Clock::system().now().tick(Duration::from_secs(1));
    let many = Served::start(MANY, OF_MANY, now).await;
    let month = Served::start(RIGS, days * 86_400, now).await;
    println!(
        "{} values of {RIGS} rigs in {days} days; {} of {MANY} rigs\n",
        month.rows, many.rows
    );
    println!("| request | ms | asked | ratio to the sqlite3 shell, ms | bytes |");
    println!("| --- | --- | --- | --- | --- |");
    let of = |part: &str| format!("/api/v1/pipelines/rigs/{part}");
    many.measure(
        "the newest values of 1,000 series",
        &of("latest"),
        "at most 20",
        "SELECT key, (SELECT tick FROM row WHERE series = id ORDER BY tick DESC LIMIT 1),
            (SELECT v1 FROM row WHERE series = id ORDER BY tick DESC LIMIT 1) FROM series",
    );
    let end = now.plus(Duration::from_secs(1));
    let hour = end.minus(Duration::from_hours(1));
    let selected = |from: Timestamp| {
        format!(
            "series = (SELECT id FROM series WHERE key = 'RIG-7') AND tick >= {} AND tick < {}",
            from.nanos(),
            end.nanos()
        )
    };
    month.measure(
        "an hour of a series, 3,600 rows",
        &of(&format!(
            "rows?series=RIG-7&limit=10000&from={hour}&to={end}"
        )),
        "at most 50",
        &format!("SELECT tick, v1 FROM row WHERE {}", selected(hour)),
    );
    let week = end.minus(Duration::from_hours(7 * 24));
    let every = 604_800 / 1_000 + 1;
    month.measure(
        "a week of a series in 1,000 buckets",
        &of(&format!("buckets?series=RIG-7&from={week}&to={end}&every={every}s")),
        "at most 200",
        &format!(
            "SELECT tick / {every}000000000, count(v1), avg(v1), min(v1), max(v1) FROM row WHERE {} GROUP BY 1",
            selected(week)
        ),
    );
    for served in [many, month] {
        drop(served.process);
    }
}
