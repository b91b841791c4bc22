//! Drains backlogs of several sizes from both queues and prints a table for docs/benchmarks.md: rate, CPU
//! time per reading, peak memory. The cost of a reading should not depend on how many others wait.
//! `bench-backlog READINGS...`, by default 10,000, 1 million and 5 million.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a tool for developers"
)]

use std::time::{Duration, Instant};

use common::clock::Clock;
use e2e::measure::{median, peak_memory_mib, thread_cpu_us};
use e2e::{Chain, OneProcess, elements_of_rig};
use model::Timestamp;
use producer::fleet::SENSORS;
use queue::ledger::{Counter, Ledger, delta};
use queue::settings::QueueSettings;
use queue::sqlite::SqliteQueue;
use queue::{Append, Queue};
use testkit::StageProcess;

const SIZES: [usize; 3] = [10_000, 1_000_000, 5_000_000];
const RIGS: usize = 100;
/// Readings of all rigs at one tick.
const ROUND: usize = RIGS * SENSORS.len();
/// Rounds per append.
const ROUNDS: usize = 30;
const POLL: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_mins(20);

#[tokio::main]
async fn main() {
    if cfg!(debug_assertions) {
        println!("measure a release build: make bench");
        return;
    }
    let given: Result<Vec<usize>, _> = std::env::args().skip(1).map(|size| size.parse()).collect();
    let Ok(mut sizes) = given else {
        println!("bench-backlog READINGS...");
        return;
    };
    if sizes.is_empty() {
        sizes.extend(SIZES);
    }
    println!(
        "| queue | waiting | drained/s | CPU µs per reading | of that the queue's server | peak memory, MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for size in &sizes {
        let mut drains = Vec::new();
        for _ in 0..repetitions(*size) {
            drains.push(sqlite(*size).await);
        }
        report("SQLite", &drains);
    }
    for size in &sizes {
        let mut drains = Vec::new();
        for _ in 0..repetitions(*size) {
            drains.push(redis(*size).await);
        }
        report("Redis", &drains);
    }
}

/// How often a backlog is drained. A small one takes less CPU time than the start of a process, which is
/// subtracted, so that a single drain says little.
const fn repetitions(size: usize) -> usize {
    if size < 100_000 { 9 } else { 1 }
}

/// The figures of one drain.
struct Drain {
    readings: usize,
    time: Duration,
    /// CPU time of Rigline's processes, in microseconds.
    cpu: f64,
    /// CPU time of the queue's server, in microseconds.
    server: f64,
    /// Peak memory of each process, in MiB.
    memory: Vec<f64>,
}

/// One process, with the readings in its `queue.db`.
async fn sqlite(size: usize) -> Drain {
    let one = OneProcess::new(&[]);
    let file = one.queue_file();
    std::fs::create_dir_all(file.parent().expect("a data directory")).expect("a data directory");
    let queue = SqliteQueue::open(&file, &without_limit(), Clock::system()).expect("a queue");
    let filled = fill(&queue, size).await;
    drop(queue);
    // A process without a backlog, for the cost of its start.
    let idle = OneProcess::new(&[]);
    let start = cost_of_start(&idle.spawn(&[]));
    let process = one.spawn(&[]);
    let started = Instant::now();
    let ended = drained(async || one.ledger().await.ok(), filled).await;
    let cpu = thread_cpu_us(process.pid()) - start;
    let memory = peak_memory_mib(process.pid()).unwrap_or_default();
    Drain {
        readings: filled,
        time: ended - started,
        cpu,
        server: 0.0,
        memory: vec![memory],
    }
}

/// Transformer and sink, with the readings in Redis and a real InfluxDB behind.
async fn redis(size: usize) -> Drain {
    let chain = Chain::start(&[]);
    let filled = fill(&chain.queue_of(&without_limit()), size).await;
    let server_before = thread_cpu_us(chain.redis.pid());
    let idle = Chain::start(&[]);
    let start: f64 = ["transformer", "sink"]
        .map(|name| cost_of_start(&idle.spawn(name, &[])))
        .iter()
        .sum();
    drop(idle);
    let stages = ["transformer", "sink"].map(|name| chain.spawn(name, &[]));
    let started = Instant::now();
    let ended = drained(async || Some(chain.ledger().await), filled).await;
    let used = stages.each_ref().map(|stage| thread_cpu_us(stage.pid()));
    let cpu = used.iter().sum::<f64>() - start;
    let server = thread_cpu_us(chain.redis.pid()) - server_before;
    let memory = stages.map(|stage| peak_memory_mib(stage.pid()).unwrap_or_default());
    Drain {
        readings: filled,
        time: ended - started,
        cpu,
        server,
        memory: memory.to_vec(),
    }
}

fn without_limit() -> QueueSettings {
    queue::testing::limited(|limits| limits.queue_limit = 1 << 40)
}

/// CPU time of a process until it is ready, in microseconds.
fn cost_of_start(process: &StageProcess) -> f64 {
    let is_ready = process.ready(Duration::from_secs(30));
    assert!(is_ready, "{}", process.logs());
    thread_cpu_us(process.pid())
}

/// Appends about this many readings, whole rows only, and returns how many.
async fn fill<Q: Queue>(queue: &Q, size: usize) -> usize {
    let rounds = (size / ROUND).max(1);
    let first = Clock::system()
        .now()
        .minus(Duration::from_secs(rounds as u64 + 60))
        .tick(Duration::from_secs(1));
    let mut raw = Vec::with_capacity(ROUND * ROUNDS);
    for round in 0..rounds {
        let time = first.plus(Duration::from_secs(round as u64));
        add_round(time, &mut raw);
        if (round + 1) % ROUNDS == 0 || round + 1 == rounds {
            let append = Append {
                raw: std::mem::take(&mut raw),
                ..Append::default()
            };
            let appended = queue.append(&append).await;
            appended.unwrap_or_else(|error| panic!("{error}"));
        }
    }
    rounds * ROUND
}

fn add_round(time: Timestamp, raw: &mut Vec<Vec<u8>>) {
    for rig in 0..RIGS {
        raw.extend(elements_of_rig(&format!("RIG-{rig}"), time));
    }
}

/// Waits until all readings are in stored rows; returns when that was seen.
async fn drained(ledger: impl AsyncFn() -> Option<Ledger>, readings: usize) -> Instant {
    let started = Instant::now();
    loop {
        let now = ledger().await;
        let is_done = now.as_ref().is_some_and(|ledger| {
            ledger.get(Counter::InRows) == delta(readings)
                && ledger.get(Counter::RowsStored) == ledger.get(Counter::RowsOut)
        });
        if is_done {
            return Instant::now();
        }
        assert!(started.elapsed() < LIMIT, "{now:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// Prints the medians of drains of one size.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn report(queue: &str, drains: &[Drain]) {
    let of_all = |value: &dyn Fn(&Drain) -> f64| median(drains.iter().map(value).collect());
    let processes = drains.first().map_or(0, |drain| drain.memory.len());
    let memory: Vec<_> = (0..processes)
        .map(|process| format!("{:.0}", of_all(&|drain| drain.memory[process])))
        .collect();
    println!(
        "| {queue} | {:.0} | {:.0} | {:.2} | {:.2} | {} |",
        of_all(&|drain| drain.readings as f64),
        of_all(&|drain| drain.readings as f64 / drain.time.as_secs_f64()),
        of_all(&|drain| (drain.cpu + drain.server) / drain.readings as f64),
        of_all(&|drain| drain.server / drain.readings as f64),
        memory.join(", ")
    );
}
