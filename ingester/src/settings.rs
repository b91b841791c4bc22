//! The ingester's settings.

use std::time::Duration;

use clap::Args;
use common::settings::{self, BadSetting, Settings};
use queue::settings::{QueueSettings, RedisSettings};
use transport::{MqttSettings, SubscribeSettings};

/// Everything that the ingester can be told.
#[derive(Debug, Clone, Args)]
pub struct IngesterSettings {
    /// What a reading may be.
    #[command(flatten)]
    pub limits: ReadingLimits,
    /// Where the broker is.
    #[command(flatten)]
    pub mqtt: MqttSettings,
    /// What to subscribe to.
    #[command(flatten)]
    pub subscribe: SubscribeSettings,
    /// Names and limits of the lists.
    #[command(flatten)]
    pub queue: QueueSettings,
    /// Where the lists are.
    #[command(flatten)]
    pub redis: RedisSettings,
}

/// What is turned away.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Readings")]
pub struct ReadingLimits {
    /// A reading further than this ahead of its arrival is a dead letter
    #[arg(long, env = "MAX_FUTURE", default_value = "60s", value_parser = settings::positive_duration)]
    pub max_future: Duration,
    /// A reading older than this is a dead letter; keep it below the store's retention
    #[arg(long, env = "MAX_AGE", default_value = "29d", value_parser = settings::positive_duration)]
    pub max_age: Duration,
    /// A larger payload is a dead letter
    #[arg(long, env = "MAX_PAYLOAD", default_value = "64KiB", value_parser = settings::bytes)]
    pub max_payload: usize,
}

impl Settings for IngesterSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.mqtt.check()?;
        self.subscribe.check()?;
        self.queue.check()?;
        self.redis.check()
    }
}
