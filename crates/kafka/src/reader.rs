//! Reads a topic as a member of a group, from positions that the caller keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use krafka::consumer::{
    AutoOffsetReset, Consumer, ConsumerRebalanceListener, ConsumerRecord, IsolationLevel,
    OffsetAndMetadata, TopicPartition,
};
use krafka::{Headers, KrafkaError};
use model::position::Positions;

use crate::error::KafkaError;
use crate::position::{Position, TopicId};
use crate::settings::KafkaSettings;

mod place;

/// How long a poll waits for records.
const POLL_LIMIT: Duration = Duration::from_secs(1);
/// After this long without records, the brokers are asked whether they are there.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// The partition that every topic has.
const FIRST_PARTITION: i32 = 0;
/// How long the commit of a group's offsets may take, which are for other programs to see.
const COMMIT_LIMIT: Duration = Duration::from_secs(2);
/// After this long without a heartbeat, the group gives the partitions to other members.
const SESSION_LIMIT: Duration = Duration::from_secs(15);
/// How long the caller may take between two reads: as long as a full list takes to drain.
const READ_INTERVAL: Duration = Duration::from_hours(1);
/// Most bytes that a fetch returns, unless its first batch is larger.
const FETCH_BYTES: i32 = 8 << 20;
/// Most bytes that a fetch returns for one partition.
const PARTITION_BYTES: i32 = 1 << 20;
/// Most records that the library keeps ready.
const BUFFERED_RECORDS: i32 = 20_000;

/// Where to start in a partition that has no position and that the group has no offset for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the oldest record.
    #[default]
    Earliest,
    /// With the first record that comes.
    Latest,
}

/// What to read.
#[derive(Debug, Clone)]
pub struct ReaderSettings {
    /// The brokers.
    pub kafka: KafkaSettings,
    /// The topic.
    pub topic: String,
    /// The group, whose members share the partitions.
    pub group: String,
    /// The name of this member in the group. A second member with the same name replaces the first one at once.
    pub member: String,
    /// Where to start without a position.
    pub start: Start,
    /// Most records of one read.
    pub max_records: usize,
}

/// A record.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// The position behind it.
    pub position: Position,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, by name; one without a value is empty.
    pub headers: Vec<(String, Bytes)>,
}

/// A member of a group that reads one topic.
pub struct Reader {
    settings: ReaderSettings,
    consumer: Consumer,
    assigned: Assigned,
    topic: TopicId,
    /// The topic was made again since, so the group's offsets are those of the one before.
    was_recreated: bool,
    /// The positions that the queue had at the start.
    positions: Positions,
    /// The partitions that are read.
    placed: BTreeSet<i32>,
    /// The next offset of each partition that this member has read. It is used again if the group revokes a partition
    /// and assigns it again, because the queue may not have all records before it yet.
    next: BTreeMap<i32, i64>,
    /// When a broker has answered last, as far as is known.
    answered: Instant,
    /// The offsets that the group has committed last.
    committed: BTreeMap<i32, i64>,
}

impl Reader {
    /// Joins the group. Partitions are read from `positions`, which are those of the queue.
    pub async fn open(
        settings: &ReaderSettings,
        positions: &Positions,
    ) -> Result<Self, KafkaError> {
        let kafka = settings.kafka.connect(&settings.member).await?;
        let error = |error| settings.kafka.error(&error);
        let assigned = Assigned::default();
        let consumer = kafka
            .consumer(&settings.group)
            .group_instance_id(&settings.member)
            .auto_offset_reset(AutoOffsetReset::None)
            .enable_auto_commit(false)
            .isolation_level(IsolationLevel::ReadCommitted)
            .session_timeout(SESSION_LIMIT)
            .max_poll_interval(READ_INTERVAL)
            .max_poll_records(i32::try_from(settings.max_records).unwrap_or(i32::MAX))
            .max_buffered_records(BUFFERED_RECORDS)
            .fetch_max_bytes(FETCH_BYTES)
            .max_partition_fetch_bytes(PARTITION_BYTES)
            .rebalance_listener(assigned.clone())
            .build()
            .await
            .map_err(error)?;
        let topic = topic_id(&consumer, &settings.topic, true)
            .await
            .map_err(error)?;
        consumer.subscribe([&settings.topic]).await.map_err(error)?;
        let mut reader = Self {
            settings: settings.clone(),
            consumer,
            assigned,
            topic,
            was_recreated: false,
            positions: positions.clone(),
            placed: BTreeSet::new(),
            next: BTreeMap::new(),
            answered: Instant::now(),
            committed: BTreeMap::new(),
        };
        reader.check_other_positions();
        Ok(reader)
    }

    /// Waits up to a second for records that have not been read before.
    pub async fn read(&mut self) -> Result<Vec<Record>, KafkaError> {
        let records = match self.consumer.poll(POLL_LIMIT).await {
            Ok(records) => records,
            // Assigned a moment ago, or its log doesn't reach to the position.
            Err(KrafkaError::NoOffset { partitions }) => {
                let own = partitions
                    .into_iter()
                    .filter(|(topic, _)| *topic == self.settings.topic);
                self.assigned.add(own.map(|(_, partition)| partition));
                Vec::new()
            }
            Err(error) => return Err(self.settings.kafka.error(&error)),
        };
        if !records.is_empty() {
            self.answered = Instant::now();
        } else if self.answered.elapsed() >= ASK_INTERVAL {
            // A poll returns no records also while there is no broker.
            let topic = &self.settings.topic;
            let asked = self.consumer.fetch_watermarks(topic, FIRST_PARTITION).await;
            asked.map_err(|error| self.settings.kafka.error(&error))?;
            self.answered = Instant::now();
        }
        self.check_topic().await;
        let added = self.unplace_changed();
        // Before partitions are placed: records that were fetched until now come from where the group has a partition,
        // which may be ahead of the queue. What is accepted is handed out even if a partition can't be placed, since no
        // later poll returns it; the next read tries again.
        let accepted = self.accept(records);
        let placed = self.place_all(added).await;
        if accepted.is_empty() {
            placed?;
        }
        Ok(accepted)
    }

    /// The records of partitions that were at their positions before, less those that were read.
    fn accept(&mut self, records: Vec<ConsumerRecord>) -> Vec<Record> {
        let mut accepted = Vec::with_capacity(records.len());
        for record in records {
            let next = self
                .next
                .get(&record.partition)
                .copied()
                .unwrap_or_default();
            if !self.placed.contains(&record.partition) || record.offset < next {
                continue;
            }
            let position = Position {
                topic: self.topic,
                next: record.offset + 1,
            };
            self.next.insert(record.partition, position.next);
            accepted.push(Record {
                partition: record.partition,
                position,
                key: record.key,
                value: record.value,
                headers: headers(record.headers),
            });
        }
        accepted
    }

    /// Tells the group's coordinator how far the partitions were read, for programs that show a group's lag.
    /// Nothing here depends on it, so errors are ignored.
    pub async fn commit(&mut self, read: &BTreeMap<i32, i64>) {
        if *read == self.committed {
            return;
        }
        let offsets = read.iter().map(|(&partition, &next)| {
            let partition = TopicPartition::new(&self.settings.topic, partition);
            (partition, OffsetAndMetadata::new(next))
        });
        let commit = self.consumer.commit_offsets(offsets);
        match tokio::time::timeout(COMMIT_LIMIT, commit).await {
            Ok(Ok(())) => self.committed = read.clone(),
            Ok(Err(error)) => tracing::debug!(%error, "cannot commit offsets of the group"),
            Err(_) => tracing::debug!("no answer to a commit of offsets of the group"),
        }
    }

    /// Ends the membership.
    pub async fn close(self) {
        // The broker forgets a member that says nothing, too.
        let _ = tokio::time::timeout(COMMIT_LIMIT, self.consumer.close()).await;
    }
}

fn headers(headers: Headers) -> Vec<(String, Bytes)> {
    let headers = headers.into_iter();
    headers
        .map(|(name, value)| (name, value.unwrap_or_default()))
        .collect()
}

/// The name of a partition in the queue.
#[must_use]
pub fn partition_name(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

/// The id of a topic, from the brokers or as the library knows it.
async fn topic_id(consumer: &Consumer, topic: &str, ask: bool) -> Result<TopicId, KrafkaError> {
    let metadata = consumer.fetch_metadata(ask.then_some(topic)).await?;
    let found = metadata.topics.into_iter().find(|info| info.name == topic);
    match found {
        Some(info) => Ok(TopicId(info.topic_id)),
        None => Err(KrafkaError::UnknownTopic {
            topic: topic.to_owned(),
        }),
    }
}

/// The partitions that the group has assigned to this member, and that aren't placed yet.
#[derive(Debug, Clone, Default)]
struct Assigned(Arc<Mutex<Changes>>);

#[derive(Debug, Default)]
struct Changes {
    added: Vec<i32>,
    removed: Vec<i32>,
}

impl Assigned {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, partitions: impl IntoIterator<Item = i32>) {
        self.lock().added.extend(partitions);
    }

    fn remove(&self, partitions: &[TopicPartition]) {
        let mut changes = self.lock();
        for TopicPartition { partition, .. } in partitions {
            changes.added.retain(|added| added != partition);
            changes.removed.push(*partition);
        }
    }

    fn take(&self) -> Changes {
        std::mem::take(&mut self.lock())
    }
}

impl ConsumerRebalanceListener for Assigned {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        self.add(partitions.iter().map(|partition| partition.partition));
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        self.remove(partitions);
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        self.remove(partitions);
    }
}
