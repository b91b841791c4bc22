//! Rows that go to Kafka: stages stop at the points of a transaction, replies are lost, the broker is killed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::clock::Clock;
use common::faults::Point;
use fastrand::Rng;
use model::{Layout, Name, Row, Stage, Timestamp};
use queue::ledger::{Counter, Ledger};
use queue::redis::RedisQueue;
use queue::testing::{redis_settings, settings};
use queue::{Commit, Lease, Queue};
use serde_json::Value;
use testkit::{Kafka, Launch, Redis, StageProcess, TcpProxy, free_port};
use tokio::runtime::Runtime;

use super::TIMEOUT;
use crate::build::fault_stage;
use crate::environment::StopAt;
use crate::oracle::Findings;
use crate::scenario::{Parameters, Report, Scenario};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario::on_servers(
    "kafka",
    "sinks that write to Kafka are killed and frozen within transactions, replies are lost, Kafka is killed",
    kafka,
)];

/// The pipeline's name, its topic, and a part of each request of its transactions.
const NAME: &str = "numbers";
const FILE: &str = r#"
name = "numbers"

[source]
topic = "numbers/{device}/{field}"

[[store]]
kind = "kafka"
url = "${KAFKA_URL}"
topic = "numbers"
partitions = 2
"#;

/// Where sinks stop.
const POINTS: [Point; 9] = [
    Point::AfterLease,
    Point::BeforePeek,
    Point::AfterPeek,
    Point::BeforeWrite,
    Point::InTransaction,
    Point::AfterTransaction,
    Point::AfterWrite,
    Point::BeforeCommit,
    Point::AfterCommit,
];

fn kafka(params: &Parameters) -> anyhow::Result<Report> {
    let features = std::env::var("FEATURES").unwrap_or_default();
    if !features.contains("kafka") {
        return Ok(Report::skipped("the stages are built without Kafka"));
    }
    let mut pipeline = Pipeline::start(params)?;
    let (mut stops, mut replies, mut restarts) = (0, 0, 0);
    for fault in 0..params.kills {
        match fault % 10 {
            3 | 7 => {
                pipeline.proxy.cut_reply("rigline-numbers", 1);
                replies += 1;
            }
            9 => {
                pipeline.broker.kill();
                pipeline.broker.restart();
                restarts += 1;
            }
            _ => stops += 1,
        }
        pipeline.append()?;
        pipeline.work_until_stopped()?;
    }
    let sent = pipeline.finish()?;
    let summary = format!(
        "{sent} rows, {stops} sinks stopped, {replies} replies lost, {restarts} restarts of Kafka: each row once"
    );
    Ok(Report::new(
        Findings::default(),
        summary,
        stops + replies + restarts,
    ))
}

/// Two sinks between a queue on Redis and Kafka.
struct Pipeline {
    broker: Kafka,
    proxy: TcpProxy,
    redis: Redis,
    queue: RedisQueue,
    /// Of the transformer, in whose place rows are appended here.
    lease: Lease,
    sinks: Vec<StageProcess>,
    binary: PathBuf,
    dir: tempfile::TempDir,
    runtime: Runtime,
    rng: Rng,
    sent: i64,
    start: Timestamp,
}

impl Pipeline {
    fn start(params: &Parameters) -> anyhow::Result<Self> {
        let listener = free_port();
        let proxy = TcpProxy::start(listener);
        let broker = Kafka::start_behind(listener, proxy.port());
        let redis = Redis::start();
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("numbers.toml"), FILE)?;
        let runtime = Runtime::new()?;
        let lists = settings().of_pipeline(NAME);
        let queue = RedisQueue::new(&lists, &redis_settings(redis.port()))?;
        let lease = queue.lease(Stage::Transformer, "rows", Duration::from_hours(1));
        let lease = runtime.block_on(lease)?.context("no lease")?;
        let start = Clock::system().now().minus(Duration::from_hours(1));
        let binary = params.broken_binary.clone().unwrap_or_else(fault_stage);
        let mut pipeline = Self {
            broker,
            proxy,
            redis,
            queue,
            lease,
            sinks: Vec::new(),
            binary,
            dir,
            runtime,
            rng: Rng::with_seed(params.seed),
            sent: 0,
            start,
        };
        for _ in 0..2 {
            let sink = pipeline.sink(true);
            pipeline.sinks.push(sink);
        }
        Ok(pipeline)
    }

    /// A sink that stops at some point, if it is to.
    fn sink(&mut self, stops: bool) -> StageProcess {
        let file = self.dir.path().join("numbers.toml");
        let mut launch = Launch::binary(&self.binary)
            .env("RIGLINE_STAGE", "sink")
            .env("PIPELINES", &file.display().to_string())
            .env(
                "KAFKA_URL",
                &format!("kafka://127.0.0.1:{}", self.proxy.port()),
            )
            .env("REDIS_HOST", "127.0.0.1")
            .env("REDIS_PORT", &self.redis.port().to_string())
            .env("LEASE", "1s")
            .env("BATCH", "10");
        if stops {
            let stop = StopAt {
                point: POINTS[self.rng.usize(..POINTS.len())],
                signal: if self.rng.u8(..4) == 0 {
                    "stop"
                } else {
                    "kill"
                },
                occurrence: self.rng.u64(1..5),
            };
            launch = launch.env("RIGLINE_POINT", &stop.to_string());
        }
        launch.spawn()
    }

    /// Appends some rows to the normalized list.
    fn append(&mut self) -> anyhow::Result<()> {
        let count = self.rng.i64(15..60);
        let outputs = (self.sent..self.sent + count).map(|number| element(self.start, number));
        let outputs = outputs.collect::<anyhow::Result<_>>()?;
        let (queue, lease) = (&self.queue, &self.lease);
        self.runtime.block_on(async {
            let number = queue.progress(Stage::Transformer).await?.number;
            let commit = Commit {
                number,
                outputs,
                ..Commit::default()
            };
            queue.commit(lease, &commit).await
        })?;
        self.sent += count;
        Ok(())
    }

    fn ledger(&self) -> anyhow::Result<Ledger> {
        Ok(self.runtime.block_on(self.queue.snapshot())?.ledger)
    }

    /// Waits until a sink has stopped or all rows are stored. Another sink takes the place of one that was killed; one
    /// that was frozen goes on when the other one has stored the rows.
    fn work_until_stopped(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let is_done = self.ledger()?.get(Counter::RowsStored) >= self.sent;
            for place in 0..self.sinks.len() {
                if self.sinks[place].has_exited() {
                    self.sinks[place] = self.sink(true);
                    return Ok(());
                }
                if self.sinks[place].is_stopped() && is_done {
                    self.sinks[place].thaw();
                }
            }
            if is_done {
                return Ok(());
            }
            if self.sinks.iter().all(|sink| sink.is_stopped()) {
                self.sinks[0].thaw();
            }
            ensure!(
                started.elapsed() < TIMEOUT,
                "{:#?}\n{}\n{}",
                self.ledger()?,
                self.sinks[0].logs(),
                self.sinks[1].logs()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all rows are stored, and compares them with what readers of committed records see. Returns their
    /// number.
    fn finish(&mut self) -> anyhow::Result<i64> {
        self.proxy.cancel_plans();
        for place in 0..self.sinks.len() {
            self.sinks[place].kill();
            self.sinks[place] = self.sink(false);
        }
        let started = Instant::now();
        while self.ledger()?.get(Counter::RowsStored) < self.sent {
            ensure!(started.elapsed() < TIMEOUT, "{}", self.sinks[0].logs());
            std::thread::sleep(Duration::from_millis(20));
        }
        let ledger = self.ledger()?;
        let counted = [Counter::RowsStored, Counter::RowsTaken, Counter::DeadSink];
        let counted = counted.map(|counter| ledger.get(counter));
        ensure!(counted == [self.sent, self.sent, 0], "{ledger:#?}");
        let mut found: Vec<_> = self.broker.consume(NAME).iter().map(number).collect();
        found.sort_unstable();
        let expected: Vec<_> = (0..self.sent).collect();
        let lost: Vec<_> = expected
            .iter()
            .filter(|number| found.binary_search(number).is_err())
            .collect();
        let doubled = found.len() - (expected.len() - lost.len());
        ensure!(
            found == expected,
            "{doubled} rows are there twice, and these are lost: {lost:?}"
        );
        Ok(self.sent)
    }
}

/// A row of the normalized list with this number.
fn element(start: Timestamp, number: i64) -> anyhow::Result<Vec<u8>> {
    let name = |name: String| Name::new(name);
    let row = Row {
        tags: vec![(name("device".into())?, name(format!("d{}", number % 5))?)],
        timestamp: start.plus(Duration::from_millis(u64::try_from(number)?)),
        fields: vec![(
            name("number".into())?,
            model::sample::Value::Integer(number),
        )],
    };
    let mut element = Vec::new();
    Layout::Tagged.encode_row(&row, &mut element);
    Ok(element)
}

/// The number of a record; -1 if it has none.
fn number(record: &Value) -> i64 {
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    let text = record["value"].as_str().unwrap_or_default();
    let value = engine.decode(text).unwrap_or_default();
    let value: Value = serde_json::from_slice(&value).unwrap_or_default();
    value["number"].as_i64().unwrap_or(-1)
}
