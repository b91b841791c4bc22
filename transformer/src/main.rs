//! The `transformer` binary: readings in, rows out, both lists in Redis.

use std::process::ExitCode;

use anyhow::Context;
use common::harness::{self, Process, Stage};
use queue::redis::RedisQueue;
use transformer::settings::TransformerSettings;

const STAGE: Stage = Stage {
    name: "transformer",
    about: "Turns the readings of the raw list into rows for the normalized list",
    admin_addr: "127.0.0.1:9102",
};

fn main() -> ExitCode {
    harness::main(&STAGE, run)
}

async fn run(settings: TransformerSettings, process: Process) -> anyhow::Result<()> {
    let queue = RedisQueue::new(&settings.queue, &settings.redis).context("cannot use Redis")?;
    transformer::run(settings, queue, process).await
}
