//! Dead letters in the file.

use rusqlite::{Connection, OptionalExtension, params};

use super::steps::{self, Named, Step};
use super::{Limits, SqliteQueue};
use crate::dead_letters::{DeadLetterEntry, DeadLetters, Replay, Replayed};
use crate::error::QueueError;

impl DeadLetters for SqliteQueue {
    async fn dead_letters(
        &self,
        skip: usize,
        max: usize,
    ) -> Result<Vec<DeadLetterEntry>, QueueError> {
        self.database
            .read(move |tx| dead_letters(tx, skip, max))
            .await
    }

    async fn replay(&self, once_more: &Replay) -> Result<Replayed, QueueError> {
        let (once_more, limits) = (once_more.clone(), self.limits);
        self.database
            .write(move |tx| replay(tx, &once_more, limits))
            .await
    }
}

fn dead_letters(tx: &Connection, skip: usize, max: usize) -> Step<Vec<DeadLetterEntry>> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let mut select = tx
        .prepare_cached("SELECT id, item FROM dead ORDER BY id LIMIT ?2 OFFSET ?1")
        .named()?;
    let found = select
        .query_map([number(skip), number(max)], |row| {
            Ok(DeadLetterEntry {
                place: row.get(0)?,
                element: row.get(1)?,
            })
        })
        .named()?;
    found.collect::<rusqlite::Result<_>>().named()
}

fn replay(tx: &Connection, replay: &Replay, limits: Limits) -> Step<Replayed> {
    let length = usize::try_from(steps::length(tx, replay.list)?).unwrap_or(0);
    if length >= limits.list {
        return Ok(Replayed::Full { length });
    }
    let DeadLetterEntry { place, element } = &replay.letter;
    // Ids stay as they are, whatever is trimmed.
    let found = tx
        .query_row(
            "UPDATE dead SET item = ?3 WHERE id = ?1 AND item = ?2 RETURNING id",
            params![place, element, replay.marked],
            |row| row.get::<_, i64>(0),
        )
        .optional();
    if found.named()?.is_none() {
        return Ok(Replayed::Gone);
    }
    let bytes = |item: &[u8]| i64::try_from(item.len()).unwrap_or(i64::MAX);
    let longer = bytes(&replay.marked) - bytes(element);
    steps::add(tx, steps::DEAD_BYTES, longer)?;
    steps::push(tx, replay.list, std::slice::from_ref(&replay.element))?;
    steps::add(tx, replay.counter().name(), 1)?;
    Ok(Replayed::Done)
}
