//! The stage as a process.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use common::cli::Program;
use common::harness::{self, Parts, Process};
use common::pipelines::Pipeline;
use model::pipeline::StoreKind;
use queue::redis::RedisQueue;

use crate::kafka::last_store;
use crate::settings::SinkSettings;
use crate::stores::PipelineStore;
use crate::{NamedStore, Stores};

const PROGRAM: Program = Program {
    name: "sink",
    about: "Writes the rows of the normalized list to the store",
    admin_addr: "127.0.0.1:9103",
    log_filter: "info",
};

/// Runs the stage until a signal. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

async fn run(settings: SinkSettings, process: Process) -> anyhow::Result<()> {
    let mut pipelines = Parts::default();
    for pipeline in settings.pipelines.all() {
        let (stores, lists) = match pipeline {
            Pipeline::Rigs(_) => {
                let name = StoreKind::Influx.name().to_owned();
                let store = PipelineStore::of_rigs(&settings.influx)?;
                let stores = Stores {
                    merging: vec![NamedStore { name, store }],
                    transactional: None,
                };
                (stores, settings.queue.clone())
            }
            Pipeline::File(file) => {
                let defaults = settings.store_defaults();
                let stores = Stores {
                    merging: PipelineStore::all_of_file(defaults, file, process.clock)?,
                    transactional: last_store(file, &settings.kafka)?,
                };
                (stores, settings.queue.of_pipeline(&file.name))
            }
        };
        let queue = RedisQueue::new(&lists, &settings.redis).context("cannot use Redis")?;
        let process = process.for_pipeline(pipeline.name());
        pipelines.spawn(crate::run(lists, queue, stores, process));
    }
    pipelines.all(&process, "pipeline").await
}
