//! The `ingester` binary: MQTT in, the raw list in Redis out.

use std::process::ExitCode;

use anyhow::Context;
use common::harness::{self, Process, Stage};
use ingester::settings::IngesterSettings;
use queue::redis::RedisQueue;

const STAGE: Stage = Stage {
    name: "ingester",
    about: "Takes readings from the MQTT broker, validates them and appends them to the raw list",
    admin_addr: "127.0.0.1:9101",
};

fn main() -> ExitCode {
    harness::main(&STAGE, run)
}

async fn run(settings: IngesterSettings, process: Process) -> anyhow::Result<()> {
    let queue = RedisQueue::new(&settings.queue, &settings.redis).context("cannot use Redis")?;
    ingester::run(settings, queue, process).await
}
