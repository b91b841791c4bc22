//! The stage as a process.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use common::cli::Program;
use common::harness::{self, Process};
use queue::redis::RedisQueue;
use transport::{Subscriber, watch_broker_drops};

use crate::settings::IngesterSettings;

const PROGRAM: Program = Program {
    name: "ingester",
    about: "Takes readings from the MQTT broker, validates them and appends them to the raw list",
    admin_addr: "127.0.0.1:9101",
    log_filter: "info",
};

/// Runs the stage until a signal. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

async fn run(settings: IngesterSettings, process: Process) -> anyhow::Result<()> {
    let IngesterSettings {
        work,
        mqtt,
        subscribe,
        redis,
    } = settings;
    let queue = RedisQueue::new(&work.queue, &redis).context("cannot use Redis")?;
    // Constant: with another id, the broker would keep the old session's messages without delivering them.
    let client_id = mqtt.client_id_or(|| format!("rigline-ingester-{}", work.queue.pipeline));
    // Ends with the process.
    tokio::spawn(watch_broker_drops(
        mqtt.clone(),
        client_id.clone(),
        process.stop.clone(),
    ));
    let session = move |broker_up| Subscriber::start(&mqtt, &subscribe, &client_id, broker_up);
    crate::run(work, queue, session, process).await
}
