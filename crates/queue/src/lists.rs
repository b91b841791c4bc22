//! The lists of a deployment, wherever they are, for programs that look at them while stages use them.

use crate::changes::{Progress, Snapshot};
use crate::dead_letters::{DeadLetterEntry, DeadLetters, Kinds, Replay, Replayed};
use crate::error::QueueError;
use crate::list::List;
use crate::queue::Queue;
use crate::redis::RedisQueue;
use crate::sqlite::SqliteQueue;
use crate::stretch::Stretch;
use model::Stage;

/// The lists of a pipeline.
#[derive(Debug, Clone)]
pub enum Lists {
    /// In a file, of the one process.
    Sqlite(SqliteQueue),
    /// In Redis, of the four stages.
    Redis(RedisQueue),
}

impl Lists {
    /// See [`Queue::snapshot`].
    pub async fn snapshot(&self) -> Result<Snapshot, QueueError> {
        match self {
            Self::Sqlite(queue) => queue.snapshot().await,
            Self::Redis(queue) => queue.snapshot().await,
        }
    }

    /// See [`Queue::progress`].
    pub async fn progress(&self, consumer: Stage) -> Result<Progress, QueueError> {
        match self {
            Self::Sqlite(queue) => queue.progress(consumer).await,
            Self::Redis(queue) => queue.progress(consumer).await,
        }
    }

    /// The number of elements at which the raw list or the normalized list counts as full.
    #[must_use]
    pub fn list_limit(&self) -> usize {
        match self {
            Self::Sqlite(queue) => queue.list_limit(),
            Self::Redis(queue) => queue.list_limit(),
        }
    }

    /// Most dead letters that are kept.
    #[must_use]
    pub fn dead_letter_limit(&self) -> usize {
        match self {
            Self::Sqlite(queue) => queue.dead_letter_limit(),
            Self::Redis(queue) => queue.dead_letter_limit(),
        }
    }

    /// Reads up to `max` elements of a list from the position `from` on, or the newest ones, without taking
    /// them.
    pub async fn stretch(
        &self,
        list: List,
        from: Option<i64>,
        max: usize,
    ) -> Result<Stretch, QueueError> {
        match self {
            Self::Sqlite(queue) => queue.stretch(list, from, max).await,
            Self::Redis(queue) => queue.stretch(list, from, max).await,
        }
    }
}

impl DeadLetters for Lists {
    async fn dead_letters(
        &self,
        skip: usize,
        max: usize,
    ) -> Result<Vec<DeadLetterEntry>, QueueError> {
        match self {
            Self::Sqlite(queue) => queue.dead_letters(skip, max).await,
            Self::Redis(queue) => queue.dead_letters(skip, max).await,
        }
    }

    async fn dead_letter_kinds(&self) -> Result<Kinds, QueueError> {
        match self {
            Self::Sqlite(queue) => queue.dead_letter_kinds().await,
            Self::Redis(queue) => queue.dead_letter_kinds().await,
        }
    }

    async fn replay(&self, replay: &Replay) -> Result<Replayed, QueueError> {
        match self {
            Self::Sqlite(queue) => queue.replay(replay).await,
            Self::Redis(queue) => queue.replay(replay).await,
        }
    }

    async fn discard(&self, entry: &DeadLetterEntry, left: &[u8]) -> Result<bool, QueueError> {
        match self {
            Self::Sqlite(queue) => queue.discard(entry, left).await,
            Self::Redis(queue) => queue.discard(entry, left).await,
        }
    }
}
