//! Rows that go to PostgreSQL: sinks stop at the points of a write, replies are lost, the server is killed.

use anyhow::{Context, ensure};
use testkit::{Postgres, TcpProxy};

use super::is_built_with;
use super::pair::{MERGING_POINTS, NAME, Sinks, each_once};
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

fn postgres(params: &Parameters) -> anyhow::Result<Report> {
    if !cfg!(feature = "postgres") || !is_built_with("postgres") {
        return Ok(Report::skipped("the stages are built without PostgreSQL"));
    }
    let mut server = Postgres::start();
    let proxy = TcpProxy::start(server.port());
    let (own, proxied) = (server.port().to_string(), proxy.port().to_string());
    let url = server.url().replace(&own, &proxied);
    let mut sinks = Sinks::start(params, FILE, ("POSTGRES_URL", url), &MERGING_POINTS)?;
    let restarts = sinks.append_among_faults(params, &proxy, UPSERT, || {
        server.kill();
        server.restart();
    })?;
    check(&server, &sinks)?;
    sinks.report(&proxy, restarts)
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
