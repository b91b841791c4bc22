//! The stages with their points and rules compiled in (see `common::faults`); the variable
//! `RIGLINE_STAGE` says which stage it is.

use std::process::ExitCode;

use anyhow::Context;
use common::harness::{self, Process, Stage};
use ingester::settings::IngesterSettings;
use queue::redis::RedisQueue;
use sink::settings::SinkSettings;
use store::InfluxStore;
use transformer::settings::TransformerSettings;

fn main() -> ExitCode {
    let stage = |name| Stage {
        name,
        about: "A stage that can be stopped at named points and whose rules can be broken",
        admin_addr: "127.0.0.1:9199",
    };
    match std::env::var("RIGLINE_STAGE").unwrap_or_default().as_str() {
        "ingester" => harness::main(&stage("ingester"), ingest),
        "transformer" => harness::main(&stage("transformer"), transform),
        _ => harness::main(&stage("sink"), drain),
    }
}

async fn ingest(settings: IngesterSettings, process: Process) -> anyhow::Result<()> {
    let queue = RedisQueue::new(&settings.queue, &settings.redis).context("cannot use Redis")?;
    ingester::run(settings, queue, process).await
}

async fn transform(settings: TransformerSettings, process: Process) -> anyhow::Result<()> {
    let queue = RedisQueue::new(&settings.queue, &settings.redis).context("cannot use Redis")?;
    transformer::run(settings, queue, process).await
}

async fn drain(settings: SinkSettings, process: Process) -> anyhow::Result<()> {
    let queue = RedisQueue::new(&settings.queue, &settings.redis).context("cannot use Redis")?;
    let store = InfluxStore::new(&settings.influx).context("cannot use InfluxDB")?;
    sink::run(settings.queue, queue, store, process).await
}
