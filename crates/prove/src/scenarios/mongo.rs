//! Rows that go to MongoDB: sinks stop at the points of a write, replies are lost, the server is killed.

use std::time::Duration;

use anyhow::ensure;
use common::faults::Point;
use serde_json::{Value, json};
use testkit::{MongoDb, TcpProxy};

use super::is_built_with;
use super::pair::{NAME, Sinks, each_once};
use crate::oracle::Findings;
use crate::scenario::{Parameters, Report, Scenario};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario::on_servers(
    "mongodb",
    "sinks that write to MongoDB are killed and frozen, replies are lost, the server is killed",
    mongodb,
)];

/// The pipeline, whose collection has its name.
const FILE: &str = r#"
name = "numbers"

[source]
topic = "numbers/{device}/{field}"

[[store]]
kind = "mongodb"
url = "${MONGO_URL}"
# For FerretDB, which is the server here.
batch = 99

[store.columns]
timestamp = "$time"
"#;
const URL: &str = "MONGO_URL";

/// The start of each update of the collection: its name as a string of BSON.
const UPDATE: &str = "update\0\u{8}\0\0\0numbers\0";
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

fn mongodb(params: &Parameters) -> anyhow::Result<Report> {
    if !cfg!(feature = "mongodb") || !is_built_with("mongodb") {
        return Ok(Report::skipped("the stages are built without MongoDB"));
    }
    let mut server = MongoDb::start();
    let proxy = TcpProxy::start(server.port());
    let url = format!("mongodb://127.0.0.1:{}", proxy.port());
    let mut sinks = Sinks::start(params, FILE, (URL, url), &POINTS)?;
    let mut restarts = 0;
    for fault in 0..params.times(3) {
        if matches!(fault % 10, 3 | 7) {
            proxy.cut_reply(UPDATE, 1);
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
    check(&documents(&sinks, &server.url())?, &sinks)?;
    let (killed, thawed, replies) = (sinks.pair.killed, sinks.pair.thawed, proxy.cuts());
    let summary = format!(
        "{} rows, {killed} sinks killed, {thawed} frozen, {replies} replies lost, {restarts} restarts of the server: \
         each row once",
        sinks.sent
    );
    let faults = killed + thawed + usize::try_from(replies)? + restarts;
    Ok(Report::new(Findings::default(), summary, faults))
}

/// Each row is one document, and holds what was appended.
fn check(documents: &[Value], sinks: &Sinks) -> anyhow::Result<()> {
    let number = |document: &Value| document["number"].as_i64().unwrap_or(-1);
    each_once(documents.iter().map(number).collect(), sinks.sent)?;
    for document in documents {
        let number = number(document);
        let expected = json!({
            "_id": document["_id"],
            "device": Sinks::device(number),
            "number": number,
            "timestamp": sinks.time(number)?.to_string(),
        });
        ensure!(*document == expected, "{document} instead of {expected}");
    }
    Ok(())
}

/// All documents of the collection.
#[cfg(feature = "mongodb")]
fn documents(sinks: &Sinks, url: &str) -> anyhow::Result<Vec<Value>> {
    use common::clock::Clock;
    use model::pipeline::PipelineFile;
    use store::{DocumentFilter, MongoSettings, MongoStore, Order};

    let url = |name: &str| (name == URL).then(|| url.to_owned());
    let file = PipelineFile::parse(NAME, FILE, &url)?;
    let settings = MongoSettings::of_file(&file, &file.store[0]);
    let history = MongoStore::new(&settings, Clock::system())?.history();
    let all = history.documents(
        DocumentFilter::default(),
        Order::OldestFirst,
        0,
        u32::MAX >> 1,
    );
    let documents = sinks.pair.wait(all)?.into_iter();
    Ok(documents.map(Value::Object).collect())
}

/// Never called.
#[cfg(not(feature = "mongodb"))]
fn documents(_: &Sinks, _: &str) -> anyhow::Result<Vec<Value>> {
    anyhow::bail!("built without MongoDB, {NAME} can't be read")
}
