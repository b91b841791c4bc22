//! Dead letters in Redis.

use super::RedisQueue;
use super::reply::{self, Reply};
use crate::dead_letters::{DeadLetterEntry, DeadLetters, Replay, Replayed};
use crate::error::QueueError;
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
        let first = i64::try_from(skip).unwrap_or(i64::MAX);
        let letters = elements.into_iter().zip(first..);
        Ok(letters
            .map(|(element, place)| DeadLetterEntry { place, element })
            .collect())
    }

    async fn replay(&self, replay: &Replay) -> Result<Replayed, QueueError> {
        let (keys, limits) = (&self.inner.keys, &self.inner.limits);
        let answer = self.run(&self.inner.scripts.replay, |call| {
            call.arg(3)
                .arg(keys.list(List::Dead))
                .arg(keys.list(replay.list))
                .arg(keys.own("ledger"));
            call.arg(limits.list)
                .arg(replay.counter().name())
                .arg(replay.letter.place)
                .arg(replay.letter.element.as_slice())
                .arg(replay.marked.as_slice())
                .arg(replay.element.as_slice());
        });
        match answer.await? {
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
