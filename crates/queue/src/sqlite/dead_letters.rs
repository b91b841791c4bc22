//! Dead letters in SQLite.

use rusqlite::{Connection, OptionalExtension, params};

use super::steps::{self, MapError, Step};
use super::{Limits, SqliteQueue};
use crate::dead_letters::{DeadLetterEntry, DeadLetters, Kinds, Replay, Replayed};
use crate::error::QueueError;
use crate::ledger::delta;

/// Dead letters that are counted at once, so that other reads run in between.
const STEP: i64 = 10_000;

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

    async fn dead_letter_kinds(&self) -> Result<Kinds, QueueError> {
        let (mut kinds, mut from) = (Kinds::default(), i64::MIN);
        loop {
            let step = self.database.read(move |tx| {
                let last = count_some(tx, &mut kinds, from)?;
                Ok((kinds, last))
            });
            let (counted, last) = step.await?;
            let Some(last) = last else { return Ok(counted) };
            (kinds, from) = (counted, last + 1);
        }
    }

    async fn replay(&self, request: &Replay) -> Result<Replayed, QueueError> {
        let (request, limits) = (request.clone(), self.limits);
        self.database
            .write(move |tx| replay(tx, &request, limits))
            .await
    }

    async fn discard(&self, entry: &DeadLetterEntry, left: &[u8]) -> Result<bool, QueueError> {
        let (entry, left) = (entry.clone(), left.to_vec());
        self.database
            .write(move |tx| replace(tx, &entry, &left))
            .await
    }
}

pub(super) fn dead_letters(tx: &Connection, skip: usize, max: usize) -> Step<Vec<DeadLetterEntry>> {
    let mut select = tx
        .prepare_cached(
            "SELECT id, item FROM dead WHERE id >= (SELECT min(id) FROM dead) + ?1
             ORDER BY id LIMIT ?2",
        )
        .classified()?;
    let found = select
        .query_map([steps::saturating(skip), steps::saturating(max)], |row| {
            Ok(DeadLetterEntry {
                place: row.get(0)?,
                element: row.get(1)?,
            })
        })
        .classified()?;
    found.collect::<rusqlite::Result<_>>().classified()
}

/// Counts some of the dead letters with ids from `from` on. Returns the last id.
pub(super) fn count_some(tx: &Connection, kinds: &mut Kinds, from: i64) -> Step<Option<i64>> {
    let mut select = tx
        .prepare_cached("SELECT id, item FROM dead WHERE id >= ?1 ORDER BY id LIMIT ?2")
        .classified()?;
    let mut rows = select.query([from, STEP]).classified()?;
    let mut last = None;
    while let Some(row) = rows.next().classified()? {
        last = Some(row.get(0).classified()?);
        let item = row.get_ref(1).classified()?;
        kinds.add(item.as_blob().unwrap_or_default());
    }
    Ok(last)
}

pub(super) fn replay(tx: &Connection, replay: &Replay, limits: Limits) -> Step<Replayed> {
    let length = steps::length(tx, replay.list)?;
    if length >= limits.list {
        return Ok(Replayed::Full { length });
    }
    if !replace(tx, &replay.entry, &replay.marked)? {
        return Ok(Replayed::Gone);
    }
    steps::push(tx, replay.list, &replay.elements)?;
    steps::add(tx, replay.counter().name(), delta(replay.elements.len()))?;
    Ok(Replayed::Done)
}

/// Replaces a dead letter. Returns false if it isn't there any more.
pub(super) fn replace(tx: &Connection, entry: &DeadLetterEntry, by: &[u8]) -> Step<bool> {
    let DeadLetterEntry { place, element } = entry;
    // Ids don't change when dead letters are trimmed.
    let found = tx
        .query_row(
            "UPDATE dead SET item = ?3 WHERE id = ?1 AND item = ?2 RETURNING id",
            params![place, element, by],
            |row| row.get::<_, i64>(0),
        )
        .optional();
    if found.classified()?.is_none() {
        return Ok(false);
    }
    steps::add(
        tx,
        steps::DEAD_BYTES,
        delta(by.len()) - delta(element.len()),
    )?;
    Ok(true)
}
