//! The stage as a process.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use common::cli::Program;
use common::harness::{self, Process};
use queue::redis::RedisQueue;

use crate::settings::TransformerSettings;

const PROGRAM: Program = Program {
    name: "transformer",
    about: "Turns the readings of the raw list into rows for the normalized list",
    admin_addr: "127.0.0.1:9102",
    log_filter: "info",
};

/// Runs the stage until a signal. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

async fn run(settings: TransformerSettings, process: Process) -> anyhow::Result<()> {
    let TransformerSettings { work, redis } = settings;
    let queue = RedisQueue::new(&work.queue, &redis).context("cannot use Redis")?;
    crate::run(work, queue, process).await
}
