//! Rows that go to Kafka: stages stop at the points of a transaction, replies are lost, the broker is killed.

use common::faults::Point;
use serde_json::Value;
use testkit::{Kafka, TcpProxy, free_port};

use super::is_built_with;
use super::pair::{NAME, Sinks, each_once};
use crate::oracle::Findings;
use crate::scenario::{Parameters, Report, Scenario};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario::on_servers(
    "kafka",
    "sinks that write to Kafka are killed and frozen within transactions, replies are lost, Kafka is killed",
    kafka,
)];

/// The pipeline, whose topic has its name.
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

/// A part of each request of its transactions.
const REQUEST: &str = "rigline-numbers";

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
    if !is_built_with("kafka") {
        return Ok(Report::skipped("the stages are built without Kafka"));
    }
    let listener = free_port();
    let proxy = TcpProxy::start(listener);
    let mut broker = Kafka::start_behind(listener, proxy.port());
    let url = format!("kafka://127.0.0.1:{}", proxy.port());
    let mut sinks = Sinks::start(params, FILE, ("KAFKA_URL", url), &POINTS)?;
    let mut restarts = 0;
    for fault in 0..params.times(5) {
        match fault % 10 {
            3 | 7 => proxy.cut_reply(REQUEST, 1),
            9 => {
                broker.kill();
                broker.restart();
                restarts += 1;
            }
            _ => {}
        }
        sinks.append()?;
        sinks.work_until_stopped()?;
    }
    proxy.cancel_plans();
    sinks.finish()?;
    each_once(
        broker.consume(NAME).iter().map(number).collect(),
        sinks.sent,
    )?;
    let (killed, thawed, replies) = (sinks.pair.killed, sinks.pair.thawed, proxy.cuts());
    let summary = format!(
        "{} rows, {killed} sinks killed, {thawed} frozen, {replies} replies lost, {restarts} restarts of Kafka: \
         each row once",
        sinks.sent
    );
    let faults = killed + thawed + usize::try_from(replies)? + restarts;
    Ok(Report::new(Findings::default(), summary, faults))
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
