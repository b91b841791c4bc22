//! The sink's settings.

use clap::Args;
use common::settings::{BadSetting, Settings};
use queue::settings::{QueueSettings, RedisSettings};
use store::InfluxSettings;

/// Everything that the sink can be told.
#[derive(Debug, Clone, Args)]
pub struct SinkSettings {
    /// Where the rows go.
    #[command(flatten)]
    pub influx: InfluxSettings,
    /// Names and limits of the lists.
    #[command(flatten)]
    pub queue: QueueSettings,
    /// Where the lists are.
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
