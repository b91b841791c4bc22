//! Rows that go to MongoDB: sinks stop at the points of a write, replies are lost, the server is killed.

use anyhow::ensure;
use serde_json::{Value, json};
use testkit::{MongoDb, TcpProxy};

use super::is_built_with;
use super::pair::{MERGING_POINTS, NAME, Sinks, each_once};
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

fn mongodb(params: &Parameters) -> anyhow::Result<Report> {
    if !cfg!(feature = "mongodb") || !is_built_with("mongodb") {
        return Ok(Report::skipped("the stages are built without MongoDB"));
    }
    let mut server = MongoDb::start();
    let proxy = TcpProxy::start(server.port());
    let url = format!("mongodb://127.0.0.1:{}", proxy.port());
    let mut sinks = Sinks::start(params, FILE, (URL, url), &MERGING_POINTS)?;
    let restarts = sinks.append_among_faults(params, &proxy, UPDATE, || {
        server.kill();
        server.restart();
    })?;
    check(&documents(&sinks, &server.url())?, &sinks)?;
    sinks.report(&proxy, restarts)
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
