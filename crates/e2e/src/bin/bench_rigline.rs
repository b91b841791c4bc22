//! Compares the pipeline with the bare broker, and the single process with both, in one run: rates as
//! ratios, CPU time per reading and stage, resident memory. Prints tables for docs/benchmarks.md.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a tool for developers"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use common::clock::Clock;
use e2e::measure::{cpu_us, median, memory_mib};
use e2e::{Chain, Role};
use queue::Queue;
use queue::ledger::Counter;
use queue::sqlite::SqliteQueue;
use testkit::{Mosquitto, target_dir};

/// Readings per run.
const READINGS: u32 = 300_000;
const RUNS: usize = 3;

#[tokio::main]
async fn main() {
    if cfg!(debug_assertions) {
        println!("measure a release build: make bench");
        return;
    }
    let mut bare = Vec::new();
    let mut runs = Vec::new();
    let mut one_process: [Vec<OneProcess>; 2] = [Vec::new(), Vec::new()];
    for run in 1..=RUNS {
        bare.push(bare_broker());
        runs.push(pipeline().await);
        for (devices, seen) in DEVICES.into_iter().zip(&mut one_process) {
            seen.push(OneProcess::run(devices, WINDOW, Duration::from_secs(8)).await);
        }
        let latest = runs.last().expect("one was pushed");
        println!(
            "run {run}: bare broker {:.0}/s, pipeline {:.0}/s, one process {:.0}/s and {:.0}/s",
            bare[run - 1],
            latest.rate,
            one_process[0][run - 1].acks,
            one_process[1][run - 1].acks,
        );
    }
    let ratios = runs
        .iter()
        .zip(&bare)
        .map(|(run, bare)| run.rate / bare)
        .collect();
    println!();
    println!("readings {READINGS}, median of {RUNS}");
    println!("bare broker    {:>8.0} /s", median(bare));
    println!(
        "pipeline       {:>8.0} /s",
        median(runs.iter().map(|run| run.rate).collect())
    );
    println!("ratio          {:>8.2}", median(ratios));
    println!();
    println!("| process | CPU µs per reading | resident memory, MiB |");
    println!("| --- | --- | --- |");
    for (place, name) in NAMES.iter().enumerate() {
        let cpu = median(runs.iter().map(|run| run.cpu_us[place]).collect());
        let memory = median(runs.iter().map(|run| run.memory_mib[place]).collect());
        println!("| {name} | {cpu:.1} | {memory:.0} |");
    }
    println!();
    println!(
        "| one process | PUBACKs/s | to the pipeline | stored/s | CPU µs per reading | memory, MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (devices, seen) in DEVICES.into_iter().zip(&one_process) {
        let of = |what: fn(&OneProcess) -> f64| median(seen.iter().map(what).collect());
        let ratios = seen
            .iter()
            .zip(&runs)
            .map(|(one_process, run)| one_process.acks / run.rate);
        println!(
            "| {devices} devices, {WINDOW} each | {:.0} | {:.2} | {:.0} | {:.1} | {:.0} |",
            of(|one_process| one_process.acks),
            median(ratios.collect()),
            of(|one_process| one_process.stored),
            of(|one_process| one_process.cpu_us),
            of(|one_process| one_process.memory_mib),
        );
    }
    println!("\n| devices, one message at a time each | PUBACKs/s | p50 ms | p99 ms |");
    println!("| --- | --- | --- | --- |");
    for devices in [1, 100, 1_000] {
        let seen = OneProcess::run(devices, 1, Duration::from_secs(5)).await;
        let (acks, p50, p99) = (seen.acks, seen.p50_ms, seen.p99_ms);
        println!("| {devices} | {acks:.0} | {p50:.2} | {p99:.2} |");
    }
}

/// Devices in the runs against the single process.
const DEVICES: [u32; 2] = [100, 1_000];
/// Unacknowledged messages per device.
const WINDOW: u32 = 100;

/// The result of devices that publish to the single process as fast as it acknowledges.
struct OneProcess {
    /// PUBACKs per second.
    acks: f64,
    /// Readings per second, until all of them are in stored rows.
    stored: f64,
    cpu_us: f64,
    memory_mib: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl OneProcess {
    async fn run(devices: u32, window: u32, time: Duration) -> Self {
        let port = testkit::free_port();
        let listen = format!("127.0.0.1:{port}");
        let up = testkit::Launch::stage("rigline")
            .args(&["up", "--data", "data", "--mqtt-listen", &listen])
            .spawn();
        assert!(up.ready(Duration::from_secs(20)), "{}", up.logs());
        let path = up.dir().join("data/queue.db");
        let settings = queue::testing::settings();
        let queue = SqliteQueue::open_read_only(&path, &settings, Clock::system());
        let queue = queue.expect("the lists");
        let started = Instant::now();
        let flood = Command::new(target_dir().join("release/examples/flood"))
            .args([&listen, &devices.to_string(), &window.to_string()])
            .arg(time.as_secs().to_string())
            .output()
            .expect("cargo build --release -p transport --example flood");
        let said = String::from_utf8_lossy(&flood.stdout);
        let seen: serde_json::Value = serde_json::from_str(&said)
            .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&flood.stderr)));
        let number = |name: &str| seen[name].as_f64().expect("a number");
        let ledger = loop {
            let ledger = queue
                .snapshot()
                .await
                .expect("a snapshot of the lists")
                .ledger;
            let stored = ledger.get(Counter::RowsStored) == ledger.get(Counter::RowsOut);
            if ledger.raw == 0 && ledger.normalized == 0 && stored {
                break ledger;
            }
            assert!(started.elapsed() < Duration::from_mins(3), "{ledger:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let taken = ledger.get(Counter::Accepted);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let taken = taken as f64;
        Self {
            acks: number("acks_per_second"),
            stored: taken / started.elapsed().as_secs_f64(),
            cpu_us: cpu_us(up.pid()) / taken,
            memory_mib: memory_mib(up.pid()).unwrap_or_default(),
            p50_ms: number("p50_ms"),
            p99_ms: number("p99_ms"),
        }
    }
}

/// The result of a run; the arrays are in the order of [`NAMES`].
struct Run {
    rate: f64,
    cpu_us: [f64; 7],
    memory_mib: [f64; 7],
}

const NAMES: [&str; 7] = [
    "producer",
    "ingester",
    "transformer",
    "sink",
    "mosquitto",
    "redis-server",
    "influxd",
];

async fn pipeline() -> Run {
    let chain = Chain::start(&[]);
    let stages = chain.spawn_all();
    let servers = [
        chain.mosquitto.pid(),
        chain.redis.pid(),
        chain.influxdb.pid(),
    ];
    let before = servers.map(cpu_us);
    let used_before: Vec<_> = stages.iter().map(|stage| cpu_us(stage.pid())).collect();
    let count = READINGS.to_string();
    let settings = [("FAST", "true"), ("COUNT", count.as_str()), ("RIGS", "100")];
    let started = Instant::now();
    let producer = chain.spawn("producer", &settings);
    let mut of_producer = (0.0, 0.0);
    loop {
        // The producer exits when everything is acknowledged, and its figures are gone.
        if let (cpu, Some(memory)) = (cpu_us(producer.pid()), memory_mib(producer.pid())) {
            of_producer = (cpu.max(of_producer.0), memory);
        }
        let ledger = chain.ledger().await;
        let (in_rows, stored) = (ledger.get(Counter::InRows), ledger.get(Counter::RowsStored));
        if in_rows == i64::from(READINGS) && stored == ledger.get(Counter::RowsOut) {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_mins(5),
            "{ledger:?}\n{}",
            producer.logs()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rate = f64::from(READINGS) / started.elapsed().as_secs_f64();
    let per_reading = |cpu: f64| cpu / f64::from(READINGS);
    let of_stage = |role: Role| {
        let place = role as usize;
        per_reading(cpu_us(stages[place].pid()) - used_before[place])
    };
    let of_server = |place: usize| per_reading(cpu_us(servers[place]) - before[place]);
    let memory = |pid: u32| memory_mib(pid).unwrap_or_default();
    let stage_memory = |role: Role| memory(stages[role as usize].pid());
    let [ingester, transformer, sink] = Role::ALL;
    Run {
        rate,
        cpu_us: [
            per_reading(of_producer.0),
            of_stage(ingester),
            of_stage(transformer),
            of_stage(sink),
            of_server(0),
            of_server(1),
            of_server(2),
        ],
        memory_mib: [
            of_producer.1,
            stage_memory(ingester),
            stage_memory(transformer),
            stage_memory(sink),
            memory(servers[0]),
            memory(servers[1]),
            memory(servers[2]),
        ],
    }
}

/// Messages per second from a raw publisher through a broker to a raw subscriber, at QoS 1.
fn bare_broker() -> f64 {
    let mosquitto = Mosquitto::start();
    let example = target_dir().join("release/examples/bare_broker");
    let (port, count) = (mosquitto.port().to_string(), READINGS.to_string());
    let run = Command::new(example)
        .args(["127.0.0.1", &port, &count])
        .output();
    let run = run.expect("cargo build --release -p transport --example bare_broker");
    let said = String::from_utf8_lossy(&run.stdout);
    let rate = said
        .split_whitespace()
        .find_map(|word| word.parse::<f64>().ok());
    rate.unwrap_or_else(|| panic!("no rate in: {said}{}", String::from_utf8_lossy(&run.stderr)))
}
