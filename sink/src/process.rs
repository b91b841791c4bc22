//! The stage as a process.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use common::cli::Program;
use common::harness::{self, Process};
use queue::redis::RedisQueue;
use store::InfluxStore;

use crate::settings::SinkSettings;

const PROGRAM: Program = Program {
    name: "sink",
    about: "Writes the rows of the normalized list to InfluxDB",
    admin_addr: "127.0.0.1:9103",
    log_filter: "info",
};

/// Runs the stage until a signal. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

async fn run(settings: SinkSettings, process: Process) -> anyhow::Result<()> {
    let queue = RedisQueue::new(&settings.queue, &settings.redis).context("cannot use Redis")?;
    let store = InfluxStore::new(&settings.influx).context("cannot use InfluxDB")?;
    crate::run(settings.queue, queue, store, process).await
}
