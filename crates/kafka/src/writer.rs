//! Writes records to a topic in transactions, each with a note that the next writer can read.

use std::time::Duration;

use bytes::Bytes;
use common::faults::{self, Point};
use krafka::admin::{ConfigResource, CreateTopicsOptions, DescribeConfigsOptions, NewTopic};
use krafka::consumer::Consumer;
use krafka::error::ErrorCode;
use krafka::producer::TransactionalProducer;
use krafka::{Kafka, KrafkaError};

use crate::error::KafkaError;
use crate::settings::KafkaSettings;
use crate::topic::{has_topic, reader_without_group};

mod note;

/// How long the brokers keep a transaction open whose writer says nothing. Readers of committed records wait for it.
const TRANSACTION_LIMIT: Duration = Duration::from_mins(1);
/// How long the records of a transaction may take to be acknowledged.
const DELIVERY_LIMIT: Duration = Duration::from_secs(20);
/// How long a call may wait for the brokers otherwise.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of records that are sent as one batch.
const BATCH_BYTES: usize = 256 << 10;
/// The largest batch of records that brokers accept, unless they or the topic have another limit.
const DEFAULT_MAX_BATCH: usize = 1_048_588;
/// What a batch has beside key and value of its only record, rounded up: 61 bytes of its own and a few lengths.
const BATCH_OVERHEAD: usize = 128;
/// Number of partitions or replicas that the brokers have as their default.
const DEFAULT_OF_BROKER: i16 = -1;

/// Where to write.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// The brokers.
    pub kafka: KafkaSettings,
    /// The topic.
    pub topic: String,
    /// If there is no such topic, one with this many partitions is created.
    pub partitions: Option<i32>,
    /// What its transactions are called. A writer ends the transactions of earlier ones with this id.
    pub transactional_id: String,
}

impl WriterSettings {
    /// Whether the brokers have the topic.
    pub async fn has_topic(&self) -> Result<bool, KafkaError> {
        self.kafka
            .has_topic(&self.transactional_id, &self.topic)
            .await
    }

    /// The topic of the notes: one partition, compacted.
    fn note_topic(&self) -> String {
        format!("{}-state", self.transactional_id)
    }
}

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Its key, whose hash decides about the partition; without one, the library chooses a partition.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Bytes,
}

/// The only writer with its transactional id, until the next one is opened. After an error it can't be used any more:
/// whether its last transaction was committed is told by the note that the next one reads.
pub struct Writer {
    settings: WriterSettings,
    producer: TransactionalProducer,
    /// For questions to the brokers.
    consumer: Consumer,
    max_record: usize,
}

impl Writer {
    /// Ends the transactions of earlier writers with the same id, so that they can't write any more, and reads the
    /// note of the last transaction that was committed, if there is one.
    pub async fn open(settings: &WriterSettings) -> Result<(Self, Option<Bytes>), KafkaError> {
        let kafka = settings.kafka.connect(&settings.transactional_id).await?;
        let opened = Self::opened(settings, &kafka).await;
        opened.map_err(|error| settings.kafka.error(&error))
    }

    async fn opened(
        settings: &WriterSettings,
        kafka: &Kafka,
    ) -> Result<(Self, Option<Bytes>), KrafkaError> {
        let consumer = reader_without_group(kafka).await?;
        let notes = settings.note_topic();
        create_topics(settings, &notes, kafka, &consumer).await?;
        let max_batch = max_batch(kafka, &settings.topic).await;
        let producer = kafka
            .producer()
            .batch_size(BATCH_BYTES.min(max_batch))
            .delivery_timeout(DELIVERY_LIMIT)
            .max_block(CALL_LIMIT)
            .transaction_timeout(TRANSACTION_LIMIT)
            .build_transactional(&settings.transactional_id)
            .await?;
        let note = note::last(&consumer, &notes, &settings.transactional_id).await?;
        let writer = Self {
            settings: settings.clone(),
            producer,
            consumer,
            max_record: max_batch.saturating_sub(BATCH_OVERHEAD),
        };
        Ok((writer, note))
    }

    /// Most bytes that key and value of a record may have together.
    #[must_use]
    pub const fn max_record(&self) -> usize {
        self.max_record
    }

    /// Writes records, and a note that the next writer reads, in one transaction. After an error, all or none of them
    /// may be written; open another writer to know. So it is if the call is dropped.
    pub async fn write(&self, records: Vec<NewRecord>, note: Bytes) -> Result<(), KafkaError> {
        let written = self.write_all(records, note).await;
        written.map_err(|error| self.settings.kafka.error(&error))
    }

    async fn write_all(&self, records: Vec<NewRecord>, note: Bytes) -> Result<(), KrafkaError> {
        self.producer.begin()?;
        for NewRecord { key, value } in records {
            let record = krafka::Record::new(&self.settings.topic, value);
            let record = match key {
                Some(key) => record.key(key),
                None => record,
            };
            // The commit waits for it, and fails if it fails.
            drop(self.producer.enqueue(record).await?);
        }
        let note = krafka::Record::new(self.settings.note_topic(), note)
            .key(self.settings.transactional_id.clone())
            .partition(note::PARTITION);
        drop(self.producer.enqueue(note).await?);
        self.producer.flush().await?;
        faults::reach(Point::InTransaction);
        self.producer.commit().await
    }

    /// Asks the brokers whether they have the topic.
    pub async fn check(&self) -> Result<(), KafkaError> {
        let topic = &self.settings.topic;
        let found = has_topic(&self.consumer, topic).await.and_then(|found| {
            let unknown = || KrafkaError::unknown_topic(topic);
            if found { Ok(()) } else { Err(unknown()) }
        });
        found.map_err(|error| self.settings.kafka.error(&error))
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Creates the topics that aren't there: that of the notes, and the other one if that is asked for.
async fn create_topics(
    settings: &WriterSettings,
    notes: &str,
    kafka: &Kafka,
    consumer: &Consumer,
) -> Result<(), KrafkaError> {
    if !has_topic(consumer, &settings.topic).await? {
        let Some(partitions) = settings.partitions else {
            return Err(KrafkaError::unknown_topic(&settings.topic));
        };
        let topic = NewTopic::new(&settings.topic, partitions, DEFAULT_OF_BROKER)?;
        create(kafka, topic).await?;
    }
    if !has_topic(consumer, notes).await? {
        // Only the last note counts. Small segments let the brokers forget the others soon.
        let topic = NewTopic::new(notes, 1, DEFAULT_OF_BROKER)?
            .with_config("cleanup.policy", "compact")
            .with_config("segment.bytes", "16777216");
        create(kafka, topic).await?;
    }
    Ok(())
}

async fn create(kafka: &Kafka, topic: NewTopic) -> Result<(), KrafkaError> {
    let name = topic.name.clone();
    let options = CreateTopicsOptions::default().timeout(CALL_LIMIT);
    let created = kafka.admin().create_topics([topic], options).await?;
    match created.into_values().next() {
        // Another program was faster.
        Some(Err(KrafkaError::Broker {
            code: ErrorCode::TopicAlreadyExists,
            ..
        })) => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(())) | None => {
            tracing::info!(topic = name, "created a topic of Kafka");
            Ok(())
        }
    }
}

/// The largest batch of records that the topic accepts, as far as the brokers tell.
async fn max_batch(kafka: &Kafka, topic: &str) -> usize {
    const NAME: &str = "max.message.bytes";
    let options = DescribeConfigsOptions::default()
        .timeout(CALL_LIMIT)
        .config_names(vec![NAME.to_owned()]);
    let described = kafka
        .admin()
        .describe_configs([ConfigResource::topic(topic)], options)
        .await;
    let entries = described.ok().and_then(|all| all.into_values().next());
    // Some users may not ask.
    let entries = entries.and_then(Result::ok).unwrap_or_default();
    let limit = entries.iter().find(|entry| entry.name == NAME);
    let limit = limit.and_then(|entry| entry.value.as_deref()?.parse().ok());
    limit.unwrap_or(DEFAULT_MAX_BATCH)
}
