//! The HTTP API as a process of its own, beside the four stages: it reads their lists in Redis and their rows in
//! stores, and evaluates the alerts of their pipelines.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api::{AlertBoard, AlertWork, Api, ApiSettings, PipelineHistory, ServedPipeline};
use clap::Args;
use common::cli::Program;
use common::harness::{self, Parts, Process};
use common::health::Dependency;
use common::pipelines::{Pipeline, PipelineSettings};
use common::settings::{BadSetting, Settings};
use ingester::settings::ReadingLimits;
use model::Stage;
use queue::Lists;
use queue::redis::RedisQueue;
use queue::settings::{QueueSettings, RedisSettings};
use sink::from_file::{StoreDefaults, check_stores};
use store::{History, InfluxSettings, ReadError};

use crate::history;
use crate::revalidate::Revalidation;

const PROGRAM: Program = Program {
    name: "api",
    about: "Serves the HTTP API of the four stages: their lists in Redis, their rows in the stores",
    admin_addr: "127.0.0.1:9105",
    log_filter: "info",
};

/// How often Redis and the stores are asked whether they answer, and Redis whether the stages run.
const CHECK: Duration = Duration::from_secs(5);
/// A series that doesn't exist, which the store looks up in an index.
const NO_SERIES: &str = "-";

/// All settings.
#[derive(Debug, Clone, Args)]
pub(crate) struct ApiProcessSettings {
    /// The pipelines.
    #[command(flatten)]
    pipelines: PipelineSettings,
    /// The API.
    #[command(flatten)]
    api: ApiSettings,
    /// Limits of a reading, for replays.
    #[command(flatten)]
    readings: ReadingLimits,
    /// The store.
    #[command(flatten)]
    influx: InfluxSettings,
    /// Names and limits of the lists.
    #[command(flatten)]
    queue: QueueSettings,
    /// The server of the lists.
    #[command(flatten)]
    redis: RedisSettings,
}

impl Settings for ApiProcessSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.pipelines.check()?;
        self.api.check()?;
        self.influx.check()?;
        self.queue.check()?;
        self.redis.check()?;
        check_stores(self.store_defaults(), self.pipelines.all())
    }
}

impl ApiProcessSettings {
    /// The servers of stores that files don't name.
    const fn store_defaults(&self) -> StoreDefaults<'_> {
        StoreDefaults {
            influx: &self.influx,
            redis: &self.redis,
            kafka: None,
        }
    }
}

/// Runs until a signal. `args` start with the program's name.
pub(crate) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

async fn run(settings: ApiProcessSettings, process: Process) -> anyhow::Result<()> {
    let server = api::Server::bind(&settings.api).await?;
    let url = server.url();
    let mut pipelines = Vec::new();
    let mut parts = Parts::default();
    for pipeline in settings.pipelines.all() {
        let (part, queue, lists) = open(&settings, pipeline)?;
        if !part.alerts.is_empty() {
            let work = AlertWork {
                pipeline: pipeline.name().to_owned(),
                queue: lists,
                board: part.alerts.clone(),
                stages: process.health.clone(),
                webhook_tls: settings.api.webhook_tls(),
            };
            let process = process.for_stage(format!("alerts/{}", pipeline.name()));
            parts.spawn(api::run_alerts(
                work,
                queue.clone(),
                part.history.clone(),
                process,
            ));
        }
        let stages = [Stage::Ingester, Stage::Transformer, Stage::Sink]
            .map(|stage| ObservedStage::new(stage, pipeline, &process));
        let process = process.for_pipeline(pipeline.name());
        parts.spawn(watch(part.clone(), queue, stages, process));
        pipelines.push(part);
    }
    tracing::info!(url, "the API answers");
    let api = Api::new(pipelines, process.health.clone(), process.clock);
    let of_api = process.clone();
    parts.spawn(async move { server.run(api, &settings.api, of_api).await });
    parts.all(&process, "part of the API").await
}

fn open(
    settings: &ApiProcessSettings,
    pipeline: &Pipeline,
) -> anyhow::Result<(ServedPipeline, RedisQueue, QueueSettings)> {
    let (lists, revalidation) = match pipeline {
        Pipeline::Rigs(_) => (
            settings.queue.clone(),
            Revalidation::of_rigs(settings.readings),
        ),
        Pipeline::File(file) => (
            settings.queue.of_pipeline(&file.name),
            Revalidation::of_file(file),
        ),
    };
    let history = history::on_server(&settings.influx, pipeline)?;
    let queue = RedisQueue::new(&lists, &settings.redis).context("cannot use Redis")?;
    let part = ServedPipeline {
        pipeline: pipeline.clone(),
        lists: Lists::Redis(queue.clone()),
        history,
        latest: history::latest(settings.store_defaults(), pipeline)?,
        stages: Arc::new(revalidation),
        alerts: AlertBoard::of(pipeline),
        inbox: None,
    };
    Ok((part, queue, lists))
}

/// A stage of another process, which is seen by its lease.
struct ObservedStage {
    stage: Stage,
    holder: Dependency,
}

impl ObservedStage {
    fn new(stage: Stage, pipeline: &Pipeline, process: &Process) -> Self {
        let name = harness::stage_name(stage.name(), pipeline.name());
        let health = process.health.add_observed_stage(name);
        Self {
            stage,
            holder: health.dependency("process"),
        }
    }

    async fn look(&self, queue: &RedisQueue) {
        match queue.is_leased(self.stage).await {
            Ok(true) => self.holder.up(),
            Ok(false) => self.holder.down(&format_args!(
                "no process holds the lease of the {}: is it running?",
                self.stage.name()
            )),
            Err(error) => self.holder.down(&error),
        }
    }
}

/// Asks a store whether it answers.
async fn probe(history: &PipelineHistory) -> Result<(), ReadError> {
    #[cfg(feature = "mongodb")]
    if let PipelineHistory::Mongodb(history) = history {
        // It wouldn't ask about what can't be a series of the pipeline.
        return history.probe().await;
    }
    history.latest(NO_SERIES).await.map(drop)
}

/// Reports whether the servers answer and the stages run, until the stop.
async fn watch(
    part: ServedPipeline,
    queue: RedisQueue,
    stages: [ObservedStage; 3],
    process: Process,
) -> anyhow::Result<()> {
    let redis = process.health.dependency("redis");
    let is_readable = !matches!(part.history, PipelineHistory::Unreadable(_));
    let store = is_readable.then(|| {
        let name = history::server_name(&part.pipeline);
        process.health.dependency(name)
    });
    let latest = part.latest.clone();
    let latest = latest.map(|store| (store, process.health.dependency("redis-latest")));
    while !process.stop.is_cancelled() {
        match part.lists.snapshot().await {
            Ok(_) => redis.up(),
            Err(error) => redis.down(&error),
        }
        for stage in &stages {
            stage.look(&queue).await;
        }
        if let Some(store) = &store {
            match probe(&part.history).await {
                Ok(()) => store.up(),
                Err(error) => store.down(&error),
            }
        }
        if let Some((latest, up)) = &latest {
            match latest.newest(Some(NO_SERIES)).await {
                Ok(_) => up.up(),
                Err(error) => up.down(&error),
            }
        }
        process.pause(CHECK).await;
    }
    Ok(())
}
