//! Dead letters in Redis.

use super::RedisQueue;
use super::reply::{self, Reply};
use crate::dead_letters::{DeadLetterEntry, DeadLetters, Replay, Replayed};
use crate::error::QueueError;
use crate::ledger::delta;
use crate::list::List;

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

    async fn replay(&self, replay: &Replay) -> Result<Replayed, QueueError> {
        let (keys, limits) = (&self.inner.keys, &self.inner.limits);
        let response = self.run(&self.inner.scripts.replay, |call| {
            call.arg(3)
                .arg(keys.list(List::Dead))
                .arg(keys.list(replay.list))
                .arg(keys.own("ledger"));
            call.arg(limits.list)
                .arg(replay.counter().name())
                .arg(replay.entry.place)
                .arg(replay.entry.element.as_slice())
                .arg(replay.marked.as_slice())
                .arg(replay.element.as_slice());
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
            other => Err(reply::refusal(other, 0)),
        }
    }
}
