//! Where to read a partition from.

use krafka::consumer::{OffsetAndMetadata, TopicPartition};

use super::{Reader, Start, partition_name, topic_id};
use crate::error::KafkaError;
use crate::position::Position;

const RECREATED: &str = "the topic was deleted and made again since it was read last: reading the new one from its start";

impl Reader {
    /// Finds positions of an earlier topic of this name, which is gone.
    pub(super) fn check_other_positions(&mut self) {
        let prefix = format!("{}/", self.settings.topic);
        let of_topic = self
            .positions
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix));
        let others = of_topic.filter(|(_, position)| {
            let position = position.parse::<Position>();
            position.is_ok_and(|position| position.topic != self.topic)
        });
        if others.count() > 0 {
            tracing::warn!(topic = self.settings.topic, "{RECREATED}");
            self.was_recreated = true;
        }
    }

    /// Starts again at the beginning of each partition if the topic was deleted and made again.
    pub(super) async fn check_topic(&mut self) {
        let known = topic_id(&self.consumer, &self.settings.topic, false).await;
        // There is none while the topic is being made.
        if let Ok(known) = known
            && known != self.topic
        {
            self.topic = known;
            tracing::warn!(topic = self.settings.topic, "{RECREATED}");
            self.was_recreated = true;
            self.next.clear();
            self.assigned.add(std::mem::take(&mut self.placed));
        }
    }

    /// Takes the changes of the assignment. Returns the partitions to place.
    pub(super) fn unplace_changed(&mut self) -> Vec<i32> {
        let changes = self.assigned.take();
        for partition in changes.removed.iter().chain(&changes.added) {
            self.placed.remove(partition);
        }
        changes.added
    }

    /// Moves partitions that were assigned to their positions.
    pub(super) async fn place_all(&mut self, added: Vec<i32>) -> Result<(), KafkaError> {
        let mut added = added.into_iter();
        while let Some(partition) = added.next() {
            if let Err(error) = self.place(partition).await {
                // The next read tries again.
                self.assigned.add([partition].into_iter().chain(added));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn place(&mut self, partition: i32) -> Result<(), KafkaError> {
        let topic = self.settings.topic.clone();
        let error = |error| self.settings.kafka.error(&error);
        let (low, high) = self
            .consumer
            .fetch_watermarks(&topic, partition)
            .await
            .map_err(error)?;
        let next = match self.position(partition) {
            Some(stored) if stored.topic != self.topic => low,
            Some(Position { next, .. }) if next < low => {
                tracing::error!(
                    topic,
                    partition,
                    records = low - next,
                    "the broker has deleted records before they were read (retention): going on with the \
                     oldest one that is left"
                );
                low
            }
            Some(Position { next, .. }) if next > high => {
                tracing::error!(
                    topic,
                    partition,
                    position = next,
                    end = high,
                    "the log ends before the position: the broker has lost records that were read. Reading it \
                     again from its start; what was read before changes nothing"
                );
                low
            }
            Some(Position { next, .. }) => next,
            None => self.first_offset(partition, (low, high)).await?,
        };
        let moved = self.consumer.seek(&topic, partition, next).await;
        if moved.is_err() {
            // Assigned to another member meanwhile.
            return Ok(());
        }
        self.placed.insert(partition);
        self.next.insert(partition, next);
        Ok(())
    }

    /// Where this member has read on to, otherwise the position in the queue.
    fn position(&self, partition: i32) -> Option<Position> {
        if let Some(&next) = self.next.get(&partition) {
            let topic = self.topic;
            return Some(Position { topic, next });
        }
        let name = partition_name(&self.settings.topic, partition);
        self.positions.get(&name)?.parse().ok()
    }

    /// Where to start in a partition that was never read into this queue.
    async fn first_offset(
        &self,
        partition: i32,
        (low, high): (i64, i64),
    ) -> Result<i64, KafkaError> {
        if self.was_recreated {
            return Ok(low);
        }
        let topic = self.settings.topic.as_str();
        let committed = self.consumer.committed(&[(topic, partition)]).await;
        let committed = committed.map_err(|error| self.settings.kafka.error(&error))?;
        let committed = committed
            .into_values()
            .next()
            .map(|position| position.offset);
        match committed {
            Some(offset) if (low..=high).contains(&offset) => Ok(offset),
            _ if self.settings.start == Start::Earliest => Ok(low),
            _ => {
                self.commit_start(partition, high).await?;
                Ok(high)
            }
        }
    }

    /// Commits where a partition is read from. Otherwise a restart before its first record would skip what comes
    /// meanwhile.
    async fn commit_start(&self, partition: i32, next: i64) -> Result<(), KafkaError> {
        let offset = (
            TopicPartition::new(&self.settings.topic, partition),
            OffsetAndMetadata::new(next),
        );
        let commit = self.consumer.commit_offsets([offset]);
        commit
            .await
            .map_err(|error| self.settings.kafka.error(&error))
    }
}
