//! Rows that go to PostgreSQL: sinks stop at the points of a write, replies are lost, the server is killed.

use std::time::Duration;

use anyhow::{Context, ensure};
use common::faults::Point;
use testkit::{Postgres, TcpProxy};

use super::is_built_with;
use super::pair::{NAME, Sinks, each_once};
use crate::oracle::Findings;
use crate::scenario::{Parameters, Report, Scenario};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario::on_servers(
    "postgres",
    "sinks that write to PostgreSQL are killed and frozen, replies are lost, the server is killed",
    postgres,
)];

/// The pipeline, whose table has its name.
const FILE: &str = r#"
name = "numbers"

[source]
topic = "numbers/{device}/{field}"

[[store]]
kind = "postgres"
url = "${POSTGRES_URL}"
"#;

/// A device in the array of a statement's values: its length, 2, and the beginning of its name.
const UPSERT: &str = "\0\0\0\u{2}d";
/// The server is killed up to this many milliseconds after rows were appended, so that it happens within a write.
const KILLED_WITHIN: u64 = 60;

/// Where sinks stop.
const POINTS: [Point; 7] = [
    Point::AfterLease,
    Point::BeforePeek,
    Point::AfterPeek,
    Point::BeforeWrite,
    Point::AfterWrite,
    Point::BeforeCommit,
    Point::AfterCommit,
];

fn postgres(params: &Parameters) -> anyhow::Result<Report> {
    if !cfg!(feature = "postgres") || !is_built_with("postgres") {
        return Ok(Report::skipped("the stages are built without PostgreSQL"));
    }
    let mut server = Postgres::start();
    let proxy = TcpProxy::start(server.port());
    let (own, proxied) = (server.port().to_string(), proxy.port().to_string());
    let url = server.url().replace(&own, &proxied);
    let mut sinks = Sinks::start(params, FILE, ("POSTGRES_URL", url), &POINTS)?;
    let mut restarts = 0;
    for fault in 0..params.times(3) {
        if matches!(fault % 10, 3 | 7) {
            proxy.cut_reply(UPSERT, 1);
        }
        sinks.append()?;
        if fault % 10 == 9 {
            let wait = sinks.pair.rng.u64(..KILLED_WITHIN);
            std::thread::sleep(Duration::from_millis(wait));
            server.kill();
            server.restart();
            restarts += 1;
        }
        sinks.work_until_stopped()?;
    }
    proxy.cancel_plans();
    sinks.finish()?;
    check(&server, &sinks)?;
    let (killed, thawed, replies) = (sinks.pair.killed, sinks.pair.thawed, proxy.cuts());
    let summary = format!(
        "{} rows, {killed} sinks killed, {thawed} frozen, {replies} replies lost, {restarts} restarts of the server: \
         each row once",
        sinks.sent
    );
    let faults = killed + thawed + usize::try_from(replies)? + restarts;
    Ok(Report::new(Findings::default(), summary, faults))
}

/// Each row of the table is one that was appended, and holds the same.
fn check(server: &Postgres, sinks: &Sinks) -> anyhow::Result<()> {
    let all =
        format!("SELECT number, device, (extract(epoch FROM time) * 1000)::bigint FROM {NAME}");
    let table = server.query(&all);
    let mut numbers = Vec::new();
    for row in table.lines() {
        let (number, _) = row.split_once('|').context("a row without a number")?;
        let number: i64 = number.parse()?;
        let millis = sinks.time(number)?.nanos() / 1_000_000;
        let expected = format!("{number}|{}|{millis}", Sinks::device(number));
        ensure!(row == expected, "{row} instead of {expected}");
        numbers.push(number);
    }
    each_once(numbers, sinks.sent)
}
