//! The ingester's settings.

use clap::Args;
use common::pipelines::PipelineSettings;
use common::settings::{self, BadSetting, Settings, TimeLimitSettings};
use queue::settings::{QueueSettings, RedisSettings};
use transport::{MqttSettings, SubscribeSettings};

use crate::decoder::Decoder;

/// All settings of the ingester.
#[derive(Debug, Clone, Args)]
pub struct IngesterSettings {
    /// The pipelines.
    #[command(flatten)]
    pub pipelines: PipelineSettings,
    /// Limits of a reading.
    #[command(flatten)]
    pub limits: ReadingLimits,
    /// Names and limits of the lists.
    #[command(flatten)]
    pub queue: QueueSettings,
    /// The broker.
    #[command(flatten)]
    pub mqtt: MqttSettings,
    /// The subscription.
    #[command(flatten)]
    pub subscribe: SubscribeSettings,
    /// The server of the lists.
    #[command(flatten)]
    pub redis: RedisSettings,
}

/// Settings of a pipeline that don't depend on the kinds of source and queue.
#[derive(Debug, Clone)]
pub struct Work {
    /// How messages become elements.
    pub decoder: Decoder,
    /// Names and limits of the lists.
    pub queue: QueueSettings,
}

/// Limits of a reading.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Readings")]
pub struct ReadingLimits {
    /// Limits of its timestamp.
    #[command(flatten)]
    pub times: TimeLimitSettings,
    /// A larger payload is a dead letter
    #[arg(long, env = "MAX_PAYLOAD", default_value = "64KiB", value_parser = settings::bytes)]
    pub max_payload: usize,
}

impl Settings for IngesterSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.pipelines.check()?;
        self.mqtt.check()?;
        self.subscribe.check()?;
        self.queue.check()?;
        self.redis.check()
    }
}
