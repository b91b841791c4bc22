//! The sink's settings.

use clap::Args;
use common::pipelines::PipelineSettings;
use common::settings::{BadSetting, KafkaTls, Settings};
use queue::settings::{QueueSettings, RedisSettings};
use store::InfluxSettings;

use crate::from_file::{StoreDefaults, check_stores};

/// All settings of the sink.
#[derive(Debug, Clone, Args)]
pub struct SinkSettings {
    /// The pipelines.
    #[command(flatten)]
    pub pipelines: PipelineSettings,
    /// The store.
    #[command(flatten)]
    pub influx: InfluxSettings,
    /// The files of TLS with Kafka.
    #[command(flatten)]
    pub kafka: KafkaTls,
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
        self.queue.check()?;
        self.redis.check()?;
        check_stores(self.store_defaults(), self.pipelines.all())
    }
}

impl SinkSettings {
    /// The servers of stores that files don't name.
    pub(crate) const fn store_defaults(&self) -> StoreDefaults<'_> {
        StoreDefaults {
            influx: &self.influx,
            redis: &self.redis,
            kafka: Some(&self.kafka),
        }
    }
}
