//! The sink's settings.

use clap::Args;
use common::pipelines::{Pipeline, PipelineSettings};
use common::settings::{BadSetting, Settings};
use model::pipeline::StoreKind;
use queue::settings::{QueueSettings, RedisSettings};
use store::InfluxSettings;

use crate::from_file::{influx_settings, store_kind};

/// All settings of the sink.
#[derive(Debug, Clone, Args)]
pub struct SinkSettings {
    /// The pipelines.
    #[command(flatten)]
    pub pipelines: PipelineSettings,
    /// The store.
    #[command(flatten)]
    pub influx: InfluxSettings,
    /// Names and limits of the lists.
    #[command(flatten)]
    pub queue: QueueSettings,
    /// The server of the lists.
    #[command(flatten)]
    pub redis: RedisSettings,
}

impl Settings for SinkSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.pipelines.check()?;
        self.influx.check()?;
        for pipeline in self.pipelines.all() {
            let Pipeline::File(file) = pipeline else {
                continue;
            };
            if store_kind(file) == Some(StoreKind::Sqlite) {
                return Err(BadSetting::File(format!(
                    "the pipeline {} can't be used: a store of kind sqlite is for `rigline up`, whose data \
                     directory has it",
                    *file.name
                )));
            }
            influx_settings(&self.influx, file)?;
        }
        self.queue.check()?;
        self.redis.check()
    }
}
