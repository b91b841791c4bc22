//! Measures the HTTP API of `rigline up` on a month of rows, beside the `sqlite3` shell on the same file, and what
//! readers of the live stream cost: `bench-api [DAYS]`. Prints tables for docs/benchmarks.md.
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
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common::clock::Clock;
use e2e::filled::fill_store;
use e2e::measure::{cpu_us, median};
use model::Timestamp;
use tempfile::TempDir;
use testkit::{Launch, StageProcess, http_get, target_dir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Rigs of the month of rows.
const RIGS: usize = 10;
/// Rigs of the store whose newest values are read.
const MANY: usize = 1_000;
/// Seconds of rows of these.
const OF_MANY: usize = 600;
/// Readers of the live stream.
const READERS: usize = 200;
/// How long a fleet or readers have been there before they are measured, and how long they are.
const SETTLED: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(20);
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
        let port = address.split([':', '/', '\n']).nth(1).expect("a port");
        let port = port.parse().expect("a port");
        Self {
            process,
            dir,
            port,
            rows,
        }
    }

    /// The rows that were stored so far.
    fn rows_stored(&self) -> f64 {
        let path = "/api/v1/pipelines/rigs/health";
        let (_, body) = http_get(self.port, path).expect("a response");
        let health: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        health["counters"]["rows_stored"]
            .as_f64()
            .expect("a number")
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
    drop((many, month));
    println!("\n| readers of the stream | rows/s | cores of the process | MB/s to the readers |");
    println!("| --- | --- | --- | --- |");
    stream(now).await;
}

/// Prints what a fleet of 1,000 rows a second costs with readers of the live stream and without, in turn.
async fn stream(now: Timestamp) {
    let served = Served::start(1, 1, now).await;
    let logs = served.process.logs();
    let (_, address) = logs
        .split_once("MQTT on 127.0.0.1:")
        .expect("the listener's address");
    let mqtt: String = address.chars().take_while(char::is_ascii_digit).collect();
    let fleet = Launch::binary(&target_dir().join("release/rigline"))
        .args(&["producer"])
        .env("MQTT_HOST", "127.0.0.1")
        .env("MQTT_PORT", &mqtt)
        .env("RIGS", &MANY.to_string())
        .spawn();
    assert!(fleet.ready(Duration::from_mins(1)), "{}", fleet.logs());
    for readers in [0, READERS, 0, READERS] {
        let bytes = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..readers)
            .map(|_| tokio::spawn(read_stream(served.port, Arc::clone(&bytes))))
            .collect();
        tokio::time::sleep(SETTLED).await;
        let pid = served.process.pid();
        let before = (served.rows_stored(), cpu_us(pid), bytes.load(Relaxed));
        let started = Instant::now();
        tokio::time::sleep(MEASURED).await;
        let seconds = started.elapsed().as_secs_f64();
        let rows = (served.rows_stored() - before.0) / seconds;
        let cores = (cpu_us(pid) - before.1) / seconds / 1e6;
        let sent = u32::try_from((bytes.load(Relaxed) - before.2) / 1_000_000).unwrap_or(u32::MAX);
        let sent = f64::from(sent) / seconds;
        println!("| {readers} | {rows:.0} | {cores:.2} | {sent:.0} |");
        for task in tasks {
            task.abort();
        }
    }
}

/// Reads the live stream until it ends.
async fn read_stream(port: u16, bytes: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = "GET /api/v1/pipelines/rigs/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        bytes.fetch_add(read as u64, Relaxed);
    }
}
