//! The ingester's settings.

use clap::Args;
use common::settings::{self, BadSetting, Settings, TimeLimitSettings};
use queue::settings::{QueueSettings, RedisSettings};
use transport::{MqttSettings, SubscribeSettings};

/// Everything that the ingester can be told.
#[derive(Debug, Clone, Args)]
pub struct IngesterSettings {
    /// What it does.
    #[command(flatten)]
    pub work: Work,
    /// Where the broker is.
    #[command(flatten)]
    pub mqtt: MqttSettings,
    /// What to subscribe to.
    #[command(flatten)]
    pub subscribe: SubscribeSettings,
    /// Where the lists are.
    #[command(flatten)]
    pub redis: RedisSettings,
}

/// What the stage goes by, wherever its messages come from and whatever kind of queue it fills.
#[derive(Debug, Clone, Args)]
pub struct Work {
    /// What a reading may be.
    #[command(flatten)]
    pub limits: ReadingLimits,
    /// Names and limits of the lists.
    #[command(flatten)]
    pub queue: QueueSettings,
}

/// What is turned away.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Readings")]
pub struct ReadingLimits {
    /// How far from its arrival a reading may be.
    #[command(flatten)]
    pub times: TimeLimitSettings,
    /// A larger payload is a dead letter
    #[arg(long, env = "MAX_PAYLOAD", default_value = "64KiB", value_parser = settings::bytes)]
    pub max_payload: usize,
}

impl Settings for IngesterSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.mqtt.check()?;
        self.subscribe.check()?;
        self.work.queue.check()?;
        self.redis.check()
    }
}
