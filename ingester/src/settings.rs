//! The ingester's settings.

use clap::Args;
use common::pipelines::{Pipeline, PipelineSettings};
use common::settings::{self, BadSetting, KafkaTls, Settings, TimeLimitSettings};
use model::pipeline::SourceKind;
use queue::settings::{QueueSettings, RedisSettings};
use transport::{HttpSettings, HttpStreamSettings, HttpStreamTls, MqttSettings, SubscribeSettings};

use crate::decoder::Decoder;
use crate::mapping::binary;

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
    /// What Kafka clients trust and show with TLS.
    #[command(flatten)]
    pub kafka: KafkaTls,
    /// Where messages are taken over HTTP.
    #[command(flatten)]
    pub http: HttpSettings,
    /// What is trusted at https, of streams that are read.
    #[command(flatten)]
    pub streams: HttpStreamTls,
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

/// Checks the sources of pipelines that this build may not have, and the files that they need.
pub fn check_sources(
    kafka: &KafkaTls,
    streams: &HttpStreamTls,
    pipelines: &[Pipeline],
) -> Result<(), BadSetting> {
    let files = pipelines.iter().filter_map(|pipeline| match pipeline {
        Pipeline::File(file) => Some(file),
        Pipeline::Rigs(_) => None,
    });
    for file in files {
        if let Some(problem) = binary::problem(file) {
            let name = file.name.as_str();
            let text = format!("the pipeline {name} can't be used: {problem}");
            return Err(BadSetting::File(text));
        }
        match file.source.kind() {
            SourceKind::Kafka => transport::check_kafka(file, kafka)?,
            SourceKind::HttpStream => HttpStreamSettings::of_file(file, streams)?.check()?,
            SourceKind::Mqtt | SourceKind::RedisPubsub | SourceKind::Http => {}
        }
    }
    Ok(())
}

impl Settings for IngesterSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.pipelines.check()?;
        self.mqtt.check()?;
        self.subscribe.check()?;
        self.queue.check()?;
        self.redis.check()?;
        self.http.check()?;
        check_sources(&self.kafka, &self.streams, self.pipelines.all())
    }
}
