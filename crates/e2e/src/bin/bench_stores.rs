//! Rows per second of the sink with each store that is a server, beside the store's client that writes the same rows in
//! a loop, in turn. Prints a table for docs/benchmarks.md.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for developers"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::clock::Clock;
use common::settings::{InfluxTls, KafkaTls};
use e2e::measure::{cpu_us, median};
use model::pipeline::PipelineFile;
use model::{Layout, Name, Row, Stage, Timestamp, Value};
use queue::ledger::Counter;
use queue::redis::RedisQueue;
use queue::testing::{redis_settings, settings};
use queue::{Commit, Queue};
use sink::from_file::StoreDefaults;
use sink::kafka::last_store;
use sink::stores::PipelineStore;
use store::{InfluxSettings, Store, TransactionalStore};
use tempfile::TempDir;
use testkit::influxdb::{BUCKET, ORG, TOKEN};
use testkit::{InfluxDb, Kafka, Launch, MongoDb, Postgres, Redis};

const REPETITIONS: i64 = 3;
const LIMIT: Duration = Duration::from_mins(10);
/// The sink's default number of rows of a batch.
const BATCH: usize = 5_000;
const SERIES: i64 = 100;
/// The first part of this many is written before the measurement, with all that happens once.
const WARM_UP: usize = 20;
const NAME: &str = "bench";

const SOURCE: &str =
    "name = \"bench\"\n[source]\ntopic = \"{device}/{field}\"\n[rows]\nalign = \"1ms\"\n";

/// One store or several, and how many rows they get in a run.
struct Case {
    name: &'static str,
    /// The tables of the pipeline file. `RUN` is replaced by the number of the run.
    tables: String,
    rows: i64,
    /// Rows of a batch, in the sink and in the loop.
    batch: usize,
}

/// The figures of one run.
struct Run {
    rows_per_second: f64,
    /// CPU time of the writing process, in microseconds a row.
    cpu: f64,
}

#[tokio::main]
async fn main() {
    if cfg!(debug_assertions) {
        println!("measure a release build: make bench");
        return;
    }
    let (influx, mongo, kafka) = (InfluxDb::start(), MongoDb::start(), Kafka::start());
    let (postgres, latest) = (Postgres::start(), Redis::start());
    let cases = cases(&influx, &latest, &postgres, &mongo, &kafka);
    println!(
        "| store | loop, rows/s | sink, rows/s | ratio | loop, CPU µs a row | sink, CPU µs a row |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for case in &cases {
        let (mut loops, mut sinks) = (Vec::new(), Vec::new());
        for repetition in 0..REPETITIONS {
            let (run_of_loop, run_of_sink) = (2 * repetition, 2 * repetition + 1);
            let file = file_of(case, run_of_loop);
            loops.push(in_a_loop(case, &file, &rows(case, run_of_loop)).await);
            sinks.push(by_the_sink(case, run_of_sink).await);
        }
        let rate = |runs: &[Run]| median(runs.iter().map(|run| run.rows_per_second).collect());
        let cpu = |runs: &[Run]| median(runs.iter().map(|run| run.cpu).collect());
        println!(
            "| {} | {:.0} | {:.0} | {:.2} | {:.1} | {:.1} |",
            case.name,
            rate(&loops),
            rate(&sinks),
            rate(&sinks) / rate(&loops),
            cpu(&loops),
            cpu(&sinks),
        );
    }
}

fn cases(
    influx: &InfluxDb,
    latest: &Redis,
    postgres: &Postgres,
    mongo: &MongoDb,
    kafka: &Kafka,
) -> [Case; 5] {
    let influx_table = format!(
        "kind = \"influx\"\nurl = \"{}\"\ntoken = \"{TOKEN}\"\norg = \"{ORG}\"\nbucket = \"{BUCKET}\"\n",
        influx.url()
    );
    [
        Case {
            name: "InfluxDB",
            tables: influx_table.clone(),
            rows: 400_000,
            batch: BATCH,
        },
        Case {
            name: "InfluxDB and redis-latest",
            tables: format!(
                "{influx_table}measurement = \"beside\"\n[[store]]\nkind = \"redis-latest\"\n\
                 url = \"redis://127.0.0.1:{}\"\n",
                latest.port()
            ),
            rows: 400_000,
            batch: BATCH,
        },
        Case {
            name: "PostgreSQL",
            tables: format!("kind = \"postgres\"\nurl = \"{}\"\n", postgres.url()),
            rows: 400_000,
            batch: BATCH,
        },
        Case {
            name: "FerretDB (as MongoDB)",
            tables: format!(
                "kind = \"mongodb\"\nurl = \"mongodb://127.0.0.1:{}\"\nbatch = 99\n\
                 collection = \"run_RUN\"\n",
                mongo.port()
            ),
            rows: 2_000,
            batch: 99,
        },
        Case {
            name: "Kafka",
            tables: format!(
                "kind = \"kafka\"\nurl = \"kafka://127.0.0.1:{}\"\ntopic = \"bench\"\npartitions = 3\n",
                kafka.port()
            ),
            rows: 400_000,
            batch: BATCH,
        },
    ]
}

fn text_of(case: &Case, run: i64) -> String {
    let tables = case.tables.replace("RUN", &run.to_string());
    format!("{SOURCE}[[store]]\n{tables}")
}

fn file_of(case: &Case, run: i64) -> PipelineFile {
    PipelineFile::parse("bench.toml", &text_of(case, run), &|_| None).expect("a pipeline")
}

/// Rows of a time of their own.
fn rows(case: &Case, run: i64) -> Vec<Row<'static>> {
    let name = |name: String| Name::new(name).expect("a name");
    let start = 1_767_600_000_000 + run * 10_000_000;
    let row = |number: i64| Row {
        tags: vec![(
            name("device".into()),
            name(format!("device-{}", number % SERIES)),
        )],
        timestamp: Timestamp::from_millis(start + number / SERIES),
        fields: (1..=3_i64)
            .map(|field| {
                let value = i32::try_from(number * field % 1_000).expect("a small number");
                let value = Value::Float(f64::from(value) / 8.0);
                (name(format!("field_{field}")), value)
            })
            .collect(),
    };
    (0..case.rows).map(row).collect()
}

async fn in_a_loop(case: &Case, file: &PipelineFile, rows: &[Row<'_>]) -> Run {
    // The table has all of it.
    let influx = InfluxSettings {
        url: String::new(),
        token: None,
        token_file: None,
        tls: InfluxTls::default(),
        org: String::new(),
        bucket: String::new(),
        timeout: LIMIT,
    };
    let redis = redis_settings(1);
    let defaults = StoreDefaults {
        influx: &influx,
        redis: &redis,
        kafka: None,
    };
    let last = last_store(file, &KafkaTls::default()).expect("a store");
    let own = std::process::id();
    let (first, rest) = rows.split_at(rows.len() / WARM_UP);
    if let Some(mut last) = last {
        last.store.open().await.expect("a connection");
        let mut write_all = async |rows: &[Row<'_>]| {
            for batch in rows.chunks(case.batch) {
                let (records, refused) = last.store.encode(batch);
                assert!(refused.is_empty(), "{refused:?}");
                let written = last.store.write(records, "bench".to_owned()).await;
                written.expect("a write");
            }
        };
        write_all(first).await;
        let (started, before) = (Instant::now(), cpu_us(own));
        write_all(rest).await;
        return run(rest.len(), started, cpu_us(own) - before);
    }
    let mut stores = Vec::new();
    for table in &file.store {
        let store = PipelineStore::of_table(defaults, file, Some(table), Clock::system());
        let store = store.expect("a store");
        stores.push(store);
    }
    let write_all = async |rows: &[Row<'_>]| {
        for batch in rows.chunks(case.batch) {
            for store in &stores {
                store.write(batch).await.expect("a write");
            }
        }
    };
    write_all(first).await;
    let (started, before) = (Instant::now(), cpu_us(own));
    write_all(rest).await;
    run(rest.len(), started, cpu_us(own) - before)
}

async fn by_the_sink(case: &Case, number: i64) -> Run {
    let rows = &rows(case, number);
    let redis = Redis::start();
    let dir = TempDir::new().expect("a directory");
    let path: PathBuf = dir.path().join("bench.toml");
    std::fs::write(&path, text_of(case, number)).expect("a file");
    let queue = RedisQueue::new(&settings().of_pipeline(NAME), &redis_settings(redis.port()));
    let queue = queue.expect("a queue");
    append(&queue, rows).await;
    let sink = Launch::stage("sink")
        .env("PIPELINES", &path.display().to_string())
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", &redis.port().to_string())
        .env("BATCH", &case.batch.to_string())
        .spawn();
    let total = rows.len();
    let first = stored(&queue, total / WARM_UP).await;
    let (started, before) = (Instant::now(), cpu_us(sink.pid()));
    let last = stored(&queue, total).await;
    run(last - first, started, cpu_us(sink.pid()) - before)
}

/// Puts rows into the normalized list, in the transformer's place.
async fn append(queue: &RedisQueue, rows: &[Row<'_>]) {
    let lease = queue.lease(Stage::Transformer, "bench", Duration::from_hours(1));
    let lease = lease.await.expect("Redis").expect("a lease");
    for (number, batch) in (0..).zip(rows.chunks(BATCH)) {
        let encode = |row: &Row<'_>| {
            let mut element = Vec::new();
            Layout::Tagged.encode_row(row, &mut element);
            element
        };
        let commit = Commit {
            number,
            outputs: batch.iter().map(encode).collect(),
            ..Commit::default()
        };
        queue.commit(&lease, &commit).await.expect("a commit");
    }
}

/// Waits until this many rows are stored, and returns how many are.
async fn stored(queue: &RedisQueue, count: usize) -> usize {
    let started = Instant::now();
    loop {
        let ledger = queue.snapshot().await.expect("Redis").ledger;
        let found = usize::try_from(ledger.get(Counter::RowsStored)).expect("a count");
        if found >= count {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "{ledger:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn run(rows: usize, started: Instant, cpu: f64) -> Run {
    let rows = f64::from(u32::try_from(rows).expect("a count"));
    Run {
        rows_per_second: rows / started.elapsed().as_secs_f64(),
        cpu: cpu / rows,
    }
}
