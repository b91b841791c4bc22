//! The `sink` binary: rows from Redis to InfluxDB.

use std::process::ExitCode;

use anyhow::Context;
use common::harness::{self, Process, Stage};
use queue::redis::RedisQueue;
use sink::settings::SinkSettings;
use store::InfluxStore;

const STAGE: Stage = Stage {
    name: "sink",
    about: "Writes the rows of the normalized list to InfluxDB",
    admin_addr: "127.0.0.1:9103",
};

fn main() -> ExitCode {
    harness::main(&STAGE, run)
}

async fn run(settings: SinkSettings, process: Process) -> anyhow::Result<()> {
    let queue = RedisQueue::new(&settings.queue, &settings.redis).context("cannot use Redis")?;
    let store = InfluxStore::new(&settings.influx).context("cannot use InfluxDB")?;
    sink::run(settings.queue, queue, store, process).await
}
