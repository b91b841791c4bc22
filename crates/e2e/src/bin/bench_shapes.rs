//! CPU time and memory of the transformer, list to list with Redis, by shape and kind of sample. Prints a table
//! for docs/benchmarks.md. `bench-shapes [TRANSFORMER]` also measures `rigs` with another build of the
//! transformer, in turn with this one.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a tool for developers"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::clock::Clock;
use e2e::elements_of_rig;
use e2e::measure::{median, memory_mib, thread_cpu_us};
use model::element::encode_sample;
use model::{Name, Sample, Timestamp, Value};
use queue::ledger::{Counter, delta};
use queue::redis::RedisQueue;
use queue::{Append, Queue};
use tempfile::TempDir;
use testkit::{Redis, StageProcess, stage_binary};

/// Drains of each case, in turn with the case that it is compared with.
const REPETITIONS: usize = 7;
const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_mins(10);
/// Elements per append.
const APPEND: usize = 5_000;

const PIVOT: &str = "name = \"bench\"\n[source]\ntopic = \"{device}\"\n[rows]\nshape = \"pivot\"\nflush_interval = \"1h\"\n";
/// Rows stay open, since one expected field never arrives.
const OPEN: &str = "name = \"bench\"\n[source]\ntopic = \"{device}\"\n[rows]\nshape = \"pivot\"\nflush_interval = \"1h\"\n\
                    expected = [\"field_0\", \"field_1\", \"field_2\", \"field_3\", \"field_4\", \"field_5\", \"field_6\", \
                    \"field_7\", \"field_8\", \"field_9\", \"absent\"]\n";
const WINDOW: &str = "name = \"bench\"\n[source]\ntopic = \"{device}\"\n[rows]\nshape = \"window\"\nevery = \"10s\"\n\
                      statistics = [\"count\", \"mean\", \"median\", \"min\", \"max\"]\n";

/// A backlog of the transformer.
struct Case {
    name: &'static str,
    /// The pipeline file; `None` for `rigs`.
    file: Option<&'static str>,
    series: usize,
    /// Readings of a series with the same time.
    fields: usize,
    /// Times of a series.
    rounds: usize,
    /// Between two times.
    step: Duration,
}

const RIGS: Case = Case {
    name: "`rigs`",
    file: None,
    series: 100,
    fields: 6,
    rounds: 1_000,
    step: SECOND,
};
const PLAIN: Case = Case {
    name: "pivot, samples of 1 field",
    file: Some(PIVOT),
    series: 1_000,
    fields: 1,
    rounds: 200,
    step: SECOND,
};
const EIGHT: Case = Case {
    name: "pivot, samples of 8 fields",
    fields: 8,
    ..PLAIN
};
const FEW: Case = Case {
    name: "pivot, 1,000 series, 10 fields, rows stay open",
    file: Some(OPEN),
    fields: 10,
    rounds: 100,
    ..PLAIN
};
const MANY: Case = Case {
    name: "pivot, 100,000 series, 10 fields, rows stay open",
    series: 100_000,
    rounds: 1,
    ..FEW
};
const WINDOWS: Case = Case {
    name: "windows of 10 s, 1,000 series, 100 readings/s each",
    file: Some(WINDOW),
    rounds: 2_000,
    step: Duration::from_millis(10),
    ..PLAIN
};

/// The figures of one drain.
struct Drain {
    elements: usize,
    readings: usize,
    time: Duration,
    /// CPU time of the transformer, in microseconds.
    cpu: f64,
    /// Readings in open rows at the end.
    open: usize,
    /// Memory that the backlog has added to the transformer, in bytes.
    memory: f64,
}

#[tokio::main]
async fn main() {
    if cfg!(debug_assertions) {
        println!("measure a release build: make bench");
        return;
    }
    println!(
        "| case | samples/s | CPU µs per sample | CPU µs per reading | bytes per open reading |"
    );
    println!("| --- | --- | --- | --- | --- |");
    let own = stage_binary("transformer");
    if let Some(other) = std::env::args_os().nth(1).map(PathBuf::from) {
        compare([(&RIGS, &own), (&RIGS, &other)]).await;
    }
    compare([(&PLAIN, &own), (&EIGHT, &own)]).await;
    compare([(&FEW, &own), (&MANY, &own)]).await;
    compare([(&WINDOWS, &own)]).await;
}

/// Measures cases in turn, and prints the medians and how the second compares with the first.
async fn compare<const N: usize>(cases: [(&Case, &Path); N]) {
    let mut drains = [const { Vec::new() }; N];
    for _ in 0..REPETITIONS {
        for ((case, binary), drains) in cases.iter().zip(&mut drains) {
            drains.push(drain(case, binary).await);
        }
    }
    for ((case, binary), drains) in cases.iter().zip(&drains) {
        report(case, binary, drains);
    }
    if let [first, second] = drains.as_slice() {
        let ratio = |value: &dyn Fn(&Drain) -> f64| {
            let of = |drains: &[Drain]| median(drains.iter().map(value).collect());
            of(second) / of(first)
        };
        let cpu = ratio(&|drain| drain.cpu / count(drain.elements));
        let rate = ratio(&|drain| count(drain.elements) / drain.time.as_secs_f64());
        println!("| the second case by the first | {rate:.2} | {cpu:.2} | | |");
    }
}

async fn drain(case: &Case, binary: &Path) -> Drain {
    let dir = TempDir::new().expect("a directory");
    let redis = Redis::start();
    let settings = queue::testing::limited(|limits| limits.queue_limit = 1 << 40);
    let settings = case
        .file
        .map_or(settings.clone(), |_| settings.of_pipeline("bench"));
    let queue = RedisQueue::new(&settings, &queue::testing::redis_settings(redis.port()));
    let queue = queue.expect("a queue");
    let mut env = vec![
        ("REDIS_HOST".to_owned(), "127.0.0.1".to_owned()),
        ("REDIS_PORT".to_owned(), redis.port().to_string()),
        ("QUEUE_LIMIT".to_owned(), (1_u64 << 40).to_string()),
    ];
    if let Some(file) = case.file {
        let path = dir.path().join("bench.toml");
        std::fs::write(&path, file).expect("a file");
        env.push(("PIPELINES".to_owned(), path.display().to_string()));
    }
    let start = cost_of_start(binary, &env);
    let elements = fill(&queue, case).await;
    let process = spawn(binary, &env);
    let started = Instant::now();
    let taken = Counter::RawTaken;
    while queue
        .snapshot()
        .await
        .expect("a snapshot")
        .ledger
        .get(taken)
        < delta(elements)
    {
        assert!(started.elapsed() < LIMIT, "{}", process.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let time = started.elapsed();
    let ledger = queue.snapshot().await.expect("a snapshot").ledger;
    assert_eq!(ledger.get(Counter::DeadTransformer), 0, "{ledger:?}");
    let memory = memory_mib(process.pid()).unwrap_or_default() - start.1;
    Drain {
        elements,
        readings: case.series * case.fields * case.rounds,
        time,
        cpu: thread_cpu_us(process.pid()) - start.0,
        open: usize::try_from(ledger.get(Counter::OpenReadings)).unwrap_or_default(),
        memory: memory * 1_048_576.0,
    }
}

fn spawn(binary: &Path, env: &[(String, String)]) -> StageProcess {
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    StageProcess::spawn_binary(binary, &env)
}

/// CPU time of a transformer without a backlog until it is ready, in microseconds, and its memory in MiB.
fn cost_of_start(binary: &Path, env: &[(String, String)]) -> (f64, f64) {
    let process = spawn(binary, env);
    assert!(process.ready(Duration::from_secs(30)), "{}", process.logs());
    let pid = process.pid();
    (thread_cpu_us(pid), memory_mib(pid).unwrap_or_default())
}

/// Appends the elements of a case, and returns how many.
async fn fill(queue: &RedisQueue, case: &Case) -> usize {
    let length = case.step * u32::try_from(case.rounds).expect("few rounds");
    let first = Clock::system()
        .now()
        .minus(length + 60 * SECOND)
        .tick(SECOND);
    let (mut raw, mut all) = (Vec::new(), 0);
    for round in 0..case.rounds {
        let time = first.plus(case.step * u32::try_from(round).expect("few rounds"));
        for series in 0..case.series {
            add(case, series, time, &mut raw);
            if raw.len() >= APPEND {
                all += append(queue, &mut raw).await;
            }
        }
    }
    all + append(queue, &mut raw).await
}

async fn append(queue: &RedisQueue, raw: &mut Vec<Vec<u8>>) -> usize {
    let append = Append {
        raw: std::mem::take(raw),
        ..Append::default()
    };
    let appended = queue.append(&append).await;
    appended.unwrap_or_else(|error| panic!("{error}"));
    append.raw.len()
}

/// Adds the elements of a series at one time.
fn add(case: &Case, series: usize, time: Timestamp, raw: &mut Vec<Vec<u8>>) {
    let name = Name::new(format!("device-{series}")).expect("a name");
    if case.file.is_none() {
        raw.extend(elements_of_rig(&name, time));
        return;
    }
    let field = |number: usize| Name::new(format!("field_{number}")).expect("a name");
    let sample = Sample {
        tags: vec![(Name::new("device").expect("a name"), name)],
        timestamp: time,
        values: (0..case.fields)
            .map(|number| (field(number), Value::Float(21.5)))
            .collect(),
    };
    let mut element = Vec::with_capacity(256);
    encode_sample(&sample, time, &mut element);
    raw.push(element);
}

/// Prints the medians of a case.
fn report(case: &Case, binary: &Path, drains: &[Drain]) {
    let of_all = |value: &dyn Fn(&Drain) -> f64| median(drains.iter().map(value).collect());
    let is_own = binary == stage_binary("transformer");
    let name = if is_own { "" } else { ", the other build" };
    let memory = of_all(&|drain| drain.memory / count(drain.open));
    let memory = if memory.is_finite() {
        format!("{memory:.0}")
    } else {
        "no row is open".to_owned()
    };
    println!(
        "| {}{name} | {:.0} | {:.2} | {:.2} | {memory} |",
        case.name,
        of_all(&|drain| count(drain.elements) / drain.time.as_secs_f64()),
        of_all(&|drain| drain.cpu / count(drain.elements)),
        of_all(&|drain| drain.cpu / count(drain.readings)),
    );
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
const fn count(number: usize) -> f64 {
    number as f64
}
