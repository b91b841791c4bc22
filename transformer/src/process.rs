//! The stage as a process.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use common::cli::Program;
use common::harness::{self, Parts, Process};
use common::pipelines::Pipeline;
use queue::redis::RedisQueue;

use crate::settings::{ShapeSettings, TransformerSettings, Work};

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
    let mut pipelines = Parts::default();
    for pipeline in settings.pipelines.all() {
        let work = match pipeline {
            Pipeline::Rigs(_) => Work {
                shape: ShapeSettings::Pivot(settings.rows.clone()),
                times: settings.times.limits(),
                queue: settings.queue.clone(),
            },
            Pipeline::File(file) => Work::of_file(file, settings.queue.of_pipeline(&file.name)),
        };
        let queue = RedisQueue::new(&work.queue, &settings.redis).context("cannot use Redis")?;
        pipelines.spawn(crate::run(
            work,
            queue,
            process.for_pipeline(pipeline.name()),
        ));
    }
    pipelines.all(&process, "pipeline").await
}
