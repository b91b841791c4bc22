//! The sink's settings.

use clap::Args;
use common::settings::{BadSetting, Settings};
use queue::settings::{QueueSettings, RedisSettings};
use store::InfluxSettings;

/// All settings of the sink.
#[derive(Debug, Clone, Args)]
pub struct SinkSettings {
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
        self.influx.check()?;
        self.queue.check()?;
        self.redis.check()
    }
}
