//! Dead letters in Redis.

use redis_client::reply;

use super::RedisQueue;
use super::script_reply::{Reply, refusal};
use crate::dead_letters::{DeadLetterEntry, DeadLetters, Kinds, Replay, Replayed};
use crate::error::QueueError;
use crate::ledger::{Counter, delta};
use crate::list::List;

/// Dead letters of a request: Redis answers it within some milliseconds.
const STEP: usize = 5_000;

impl DeadLetters for RedisQueue {
    async fn dead_letters(
        &self,
        skip: usize,
        max: usize,
    ) -> Result<Vec<DeadLetterEntry>, QueueError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut range = redis::cmd("LRANGE");
        range
            .arg(self.inner.keys.list(List::Dead))
            .arg(skip)
            .arg(skip.saturating_add(max - 1));
        let elements = reply::items(self.inner.connection.read(&range).await?)?;
        let entries = elements.into_iter().zip(delta(skip)..);
        Ok(entries
            .map(|(element, place)| DeadLetterEntry { place, element })
            .collect())
    }

    async fn dead_letter_kinds(&self) -> Result<Kinds, QueueError> {
        let (mut kinds, mut skip) = (Kinds::default(), 0);
        let mut letters = self.dead_letters(skip, STEP).await?;
        while !letters.is_empty() {
            skip += letters.len();
            let count = async {
                for letter in &letters {
                    kinds.add(&letter.element);
                }
            };
            // The next ones are read while these are counted.
            let (next, ()) = tokio::join!(self.dead_letters(skip, STEP), count);
            letters = next?;
        }
        Ok(kinds)
    }

    async fn replay(&self, replay: &Replay) -> Result<Replayed, QueueError> {
        let limit = self.inner.limits.list;
        let Replay { entry, marked, .. } = replay;
        let (list, elements) = (replay.list, replay.elements.as_slice());
        self.replace(entry, marked, list, replay.counter(), elements, limit)
            .await
    }

    async fn discard(&self, entry: &DeadLetterEntry, left: &[u8]) -> Result<bool, QueueError> {
        // It appends nothing, so no length is too long.
        let (list, counter) = (List::Raw, Counter::RawReplayed);
        let replaced = self.replace(entry, left, list, counter, &[], usize::MAX);
        Ok(replaced.await? == Replayed::Done)
    }
}

impl RedisQueue {
    /// Replaces a dead letter and appends elements to a list, unless that is at its limit.
    async fn replace(
        &self,
        entry: &DeadLetterEntry,
        by: &[u8],
        list: List,
        counter: Counter,
        elements: &[Vec<u8>],
        limit: usize,
    ) -> Result<Replayed, QueueError> {
        let keys = &self.inner.keys;
        let response = self.run(&self.inner.scripts.replay, |call| {
            call.arg(3)
                .arg(keys.list(List::Dead))
                .arg(keys.list(list))
                .arg(keys.own("ledger"));
            call.arg(limit)
                .arg(counter.name())
                .arg(entry.place)
                .arg(entry.element.as_slice())
                .arg(by)
                .arg(elements);
        });
        match response.await? {
            Reply::Ok(done) => Ok(if reply::count(&done)? == 1 {
                Replayed::Done
            } else {
                Replayed::Gone
            }),
            Reply::Full(length) => Ok(Replayed::Full {
                length: reply::count(&length)?,
            }),
            other => Err(refusal(other, 0)),
        }
    }
}
