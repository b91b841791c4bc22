//! Looking for a topic.

use krafka::consumer::{AutoOffsetReset, Consumer, IsolationLevel};
use krafka::error::ErrorCode;
use krafka::{Kafka, KrafkaError};

use crate::error::KafkaError;
use crate::settings::KafkaSettings;

impl KafkaSettings {
    /// Whether the brokers have a topic. Joins no group, and fences nobody.
    pub async fn has_topic(&self, client_id: &str, topic: &str) -> Result<bool, KafkaError> {
        let kafka = self.connect(client_id).await?;
        let found = async { has_topic(&reader_without_group(&kafka).await?, topic).await };
        found.await.map_err(|error| self.error(&error))
    }
}

/// A reader of committed records that belongs to no group.
pub(crate) async fn reader_without_group(kafka: &Kafka) -> Result<Consumer, KrafkaError> {
    let builder = kafka.consumer_without_group();
    builder
        .isolation_level(IsolationLevel::ReadCommitted)
        .auto_offset_reset(AutoOffsetReset::None)
        .build()
        .await
}

/// Whether the brokers have a topic.
pub(crate) async fn has_topic(consumer: &Consumer, topic: &str) -> Result<bool, KrafkaError> {
    match consumer.fetch_metadata(Some(topic)).await {
        Ok(metadata) => Ok(metadata.topics.iter().any(|info| info.name == topic)),
        Err(
            KrafkaError::UnknownTopic { .. }
            | KrafkaError::Broker {
                code: ErrorCode::UnknownTopicOrPartition,
                ..
            },
        ) => Ok(false),
        Err(error) => Err(error),
    }
}
