//! The statements of each call, inside its transaction.

use std::time::Duration;

use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::Limits;
use super::error::classify;
use crate::changes::{
    Append, Appended, Commit, Lease, Peek, Progress, Snapshot, State, is_applied,
};
use crate::error::QueueError;
use crate::ledger::{Counter, Ledger, delta};
use crate::list::{List, output_of, source_of};
use crate::stretch::{self, Stretch};
use model::Stage;
use model::position::Positions;

pub(super) type Step<T> = Result<T, QueueError>;

/// Maps SQLite's errors to the queue's.
pub(super) trait MapError<T> {
    fn classified(self) -> Step<T>;
}

impl<T> MapError<T> for rusqlite::Result<T> {
    fn classified(self) -> Step<T> {
        self.map_err(|error| classify(&error))
    }
}

const fn table(list: List) -> &'static str {
    match list {
        List::Raw => "raw",
        List::Normalized => "normalized",
        List::Dead => "dead",
    }
}

pub(super) fn append(tx: &Connection, append: &Append, limits: Limits) -> Step<Appended> {
    let length = length(tx, List::Raw)?;
    // Most sources have no positions.
    let present = if append.steps.is_empty() {
        Positions::new()
    } else {
        positions(tx)?
    };
    match is_applied(&append.steps, |partition| present.get(partition).cloned()) {
        None => return Ok(Appended::Moved),
        Some(true) => {
            let accepted = counter(tx, Counter::Accepted.name())?;
            return Ok(Appended::Done { length, accepted });
        }
        Some(false) => {}
    }
    if length >= limits.list {
        return Ok(Appended::Full { length });
    }
    for step in &append.steps {
        tx.prepare_cached("INSERT OR REPLACE INTO positions VALUES (?1, ?2)")
            .classified()?
            .execute([&step.partition, &step.to])
            .classified()?;
    }
    push(tx, List::Raw, &append.raw)?;
    append_dead(tx, &append.dead, limits)?;
    add(tx, Counter::Accepted.name(), delta(append.raw.len()))?;
    let dead = append.dead.len() + append.over_quota;
    add(tx, Counter::DeadIngester.name(), delta(dead))?;
    add(tx, Counter::Trimmed.name(), delta(append.over_quota))?;
    Ok(Appended::Done {
        length: length + append.raw.len(),
        accepted: counter(tx, Counter::Accepted.name())?,
    })
}

/// The positions of the source.
pub(super) fn positions(tx: &Connection) -> Step<Positions> {
    let mut select = tx
        .prepare_cached("SELECT partition, position FROM positions")
        .classified()?;
    let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    found
        .classified()?
        .collect::<rusqlite::Result<_>>()
        .classified()
}

/// Adds a counter that a ledger of version 0.1 lacks. There each element held one reading.
const CONVERT_LEDGER: &str = "INSERT OR IGNORE INTO ledger SELECT ?1, value - coalesce(
        (SELECT value FROM ledger WHERE name = 'dead_transformer'), 0)
    FROM ledger WHERE name = 'raw_taken'";

pub(super) fn lease(
    tx: &Connection,
    consumer: Stage,
    nonce: &str,
    limit: Duration,
    instance: &str,
    now: Timestamp,
) -> Step<Option<Lease>> {
    let name = consumer.name();
    tx.execute(
        "INSERT OR IGNORE INTO meta VALUES ('instance', ?1)",
        [instance],
    )
    .classified()?;
    tx.execute("INSERT OR IGNORE INTO meta VALUES ('partitions', '1')", [])
        .classified()?;
    tx.execute("INSERT OR IGNORE INTO consumer (name) VALUES (?1)", [name])
        .classified()?;
    let (token, until, tokens): (String, i64, i64) = tx
        .query_row(
            "SELECT token, until, tokens FROM consumer WHERE name = ?1",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .classified()?;
    let held = !token.is_empty() && until > millis(now);
    if held && !token.ends_with(nonce) {
        return Ok(None);
    }
    for counter in ["samples", "readings"] {
        tx.execute(CONVERT_LEDGER, [counter]).classified()?;
    }
    let token = if held {
        token
    } else {
        format!("{}-{nonce}", tokens + 1)
    };
    tx.execute(
        "UPDATE consumer SET token = ?2, until = ?3, tokens = ?4 WHERE name = ?1",
        params![
            name,
            token,
            millis(now.plus(limit)),
            tokens + i64::from(!held)
        ],
    )
    .classified()?;
    Ok(Some(Lease {
        consumer,
        token,
        limit,
    }))
}

pub(super) fn renew(tx: &Connection, lease: &Lease, now: Timestamp) -> Step<()> {
    let renewed = tx.execute(
        "UPDATE consumer SET until = ?4 WHERE name = ?1 AND token = ?2 AND until > ?3",
        params![
            lease.consumer.name(),
            lease.token,
            millis(now),
            millis(now.plus(lease.limit))
        ],
    );
    if renewed.classified()? == 1 {
        Ok(())
    } else {
        Err(QueueError::Fenced)
    }
}

pub(super) fn release(tx: &Connection, lease: &Lease, now: Timestamp) -> Step<()> {
    check_held(tx, lease, now)?;
    end_lease(tx, lease.consumer)
}

/// Ends the lease, whatever its token.
pub(super) fn end_lease(tx: &Connection, consumer: Stage) -> Step<()> {
    tx.execute(
        "UPDATE consumer SET token = '' WHERE name = ?1",
        [consumer.name()],
    )
    .classified()?;
    Ok(())
}

/// [`QueueError::Fenced`] unless the lease is held.
pub(super) fn check_held(tx: &Connection, lease: &Lease, now: Timestamp) -> Step<()> {
    let held = tx.query_row(
        "SELECT count(*) FROM consumer WHERE name = ?1 AND token = ?2 AND until > ?3",
        params![lease.consumer.name(), lease.token, millis(now)],
        |row| row.get::<_, i64>(0),
    );
    match held.classified()? {
        0 => Err(QueueError::Fenced),
        _ => Ok(()),
    }
}

pub(super) fn state(tx: &Connection, lease: &Lease, now: Timestamp) -> Step<State> {
    check_held(tx, lease, now)?;
    let mut select = tx
        .prepare_cached("SELECT key, value FROM state WHERE consumer = ?1")
        .classified()?;
    let name = lease.consumer.name();
    let rows = select.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.classified()?
        .collect::<rusqlite::Result<_>>()
        .classified()
}

pub(super) fn peek(tx: &Connection, consumer: Stage, skip: usize, max: usize) -> Step<Peek> {
    let number = progress(tx, consumer)?.number;
    let Some(source) = source_of(consumer) else {
        return Ok(Peek {
            number,
            ..Peek::default()
        });
    };
    let table_name = table(source);
    let sql = format!(
        "SELECT item FROM {table_name} WHERE id >= (SELECT min(id) FROM {table_name}) + ?1
         AND id < (SELECT min(id) FROM {table_name}) + ?2 ORDER BY id"
    );
    let mut select = tx.prepare_cached(&sql).classified()?;
    let items = select
        .query_map(
            [saturating(skip), saturating(skip.saturating_add(max))],
            |row| row.get(0),
        )
        .classified()?;
    let output = output_of(consumer).map_or(Ok(0), |list| length(tx, list))?;
    Ok(Peek {
        number,
        items: items.collect::<rusqlite::Result<_>>().classified()?,
        length: length(tx, source)?,
        output_length: output,
    })
}

pub(super) fn commit(
    tx: &Connection,
    lease: &Lease,
    commit: &Commit,
    limits: Limits,
    now: Timestamp,
) -> Step<()> {
    renew(tx, lease, now)?;
    let name = lease.consumer.name();
    let found = progress(tx, lease.consumer)?.number;
    if found != commit.number {
        return Err(QueueError::Conflict {
            expected: commit.number,
            found,
        });
    }
    let source = source_of(lease.consumer);
    if let Some(source) = source {
        check_head(tx, source, commit)?;
    }
    push(tx, List::Normalized, &commit.outputs)?;
    append_dead(tx, &commit.dead, limits)?;
    let mut put = tx
        .prepare_cached("INSERT OR REPLACE INTO state VALUES (?1, ?2, ?3)")
        .classified()?;
    for (key, value) in &commit.puts {
        put.execute(params![name, key, value]).classified()?;
    }
    let mut delete = tx
        .prepare_cached("DELETE FROM state WHERE consumer = ?1 AND key = ?2")
        .classified()?;
    for key in &commit.deletes {
        delete.execute(params![name, key]).classified()?;
    }
    for (counter, amount) in commit.ledger(lease.consumer) {
        add(tx, counter.name(), amount)?;
    }
    if let Some(source) = source {
        trim(tx, source, commit.take)?;
    }
    tx.execute(
        "UPDATE consumer SET number = number + 1, by = ?2 WHERE name = ?1",
        params![name, lease.token],
    )
    .classified()?;
    Ok(())
}

/// Removes elements at the head of a list.
fn trim(tx: &Connection, source: List, take: usize) -> Step<()> {
    let source = table(source);
    let trim = format!("DELETE FROM {source} WHERE id < (SELECT min(id) FROM {source}) + ?1");
    tx.prepare_cached(&trim)
        .classified()?
        .execute([delta(take)])
        .classified()?;
    Ok(())
}

/// [`QueueError::Shifted`] unless the last element to take is the one that was peeked at.
fn check_head(tx: &Connection, source: List, commit: &Commit) -> Step<()> {
    let (Some(last), Some(before)) = (&commit.last_taken, commit.take.checked_sub(1)) else {
        return Ok(());
    };
    let source = table(source);
    let sql = format!("SELECT item FROM {source} WHERE id = (SELECT min(id) FROM {source}) + ?1");
    let mut select = tx.prepare_cached(&sql).classified()?;
    let found: Option<Vec<u8>> = select
        .query_row([delta(before)], |row| row.get(0))
        .optional()
        .classified()?;
    if found.as_ref() == Some(last) {
        Ok(())
    } else {
        Err(QueueError::Shifted)
    }
}

pub(super) fn progress(tx: &Connection, consumer: Stage) -> Step<Progress> {
    let mut select = tx
        .prepare_cached("SELECT number, by FROM consumer WHERE name = ?1")
        .classified()?;
    let found = select
        .query_row([consumer.name()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?))
        })
        .optional()
        .classified()?;
    let (number, by) = found.unwrap_or_default();
    let number = u64::try_from(number)
        .map_err(|_| QueueError::WrongType(format!("commit number {number} is below 0")))?;
    Ok(Progress { number, by })
}

pub(super) fn snapshot(tx: &Connection, now: Timestamp) -> Step<Snapshot> {
    let mut ledger = Ledger::default();
    ledger.raw = delta(length(tx, List::Raw)?);
    ledger.normalized = delta(length(tx, List::Normalized)?);
    ledger.dead = delta(length(tx, List::Dead)?);
    let mut select = tx
        .prepare_cached("SELECT name, value FROM ledger")
        .classified()?;
    let mut rows = select.query([]).classified()?;
    while let Some(row) = rows.next().classified()? {
        let (name, value): (String, i64) = (row.get(0).classified()?, row.get(1).classified()?);
        ledger.set_named(name.as_bytes(), value);
    }
    ledger.convert();
    let instance = tx
        .query_row(
            "SELECT value FROM meta WHERE name = 'instance'",
            [],
            |row| row.get(0),
        )
        .optional()
        .classified()?;
    Ok(Snapshot {
        instance: instance.unwrap_or_default(),
        server_time: now,
        ledger,
    })
}

/// A part of a list, from a position on, or the newest elements.
pub(super) fn stretch(
    tx: &Connection,
    list: List,
    from: Option<i64>,
    max: usize,
    now: Timestamp,
) -> Step<Stretch> {
    let Snapshot {
        instance, ledger, ..
    } = snapshot(tx, now)?;
    let gone: i64 = stretch::gone(list)
        .iter()
        .map(|counter| ledger.get(*counter))
        .sum();
    let length = delta(length(tx, list)?);
    let first = from.map_or(length.saturating_sub(saturating(max)), |from| from - gone);
    let first = first.max(0);
    let table = table(list);
    let sql = format!(
        "SELECT item FROM {table} WHERE id >= (SELECT min(id) FROM {table}) + ?1 ORDER BY id LIMIT ?2"
    );
    let mut select = tx.prepare_cached(&sql).classified()?;
    let items = select.query_map([first, saturating(max)], |row| row.get(0));
    Ok(Stretch {
        instance,
        end: gone + length,
        first: gone + first,
        items: items
            .classified()?
            .collect::<rusqlite::Result<_>>()
            .classified()?,
    })
}

pub(super) fn length(tx: &Connection, list: List) -> Step<usize> {
    let table = table(list);
    // In one SELECT, min and max would read the whole table.
    let sql = format!(
        "SELECT coalesce((SELECT max(id) FROM {table}) - (SELECT min(id) FROM {table}) + 1, 0)"
    );
    let mut select = tx.prepare_cached(&sql).classified()?;
    let length: i64 = select.query_row([], |row| row.get(0)).classified()?;
    usize::try_from(length)
        .map_err(|_| QueueError::WrongType(format!("the length of {table} is {length}, below 0")))
}

pub(super) fn push(tx: &Connection, list: List, items: &[Vec<u8>]) -> Step<()> {
    let mut insert = tx
        .prepare_cached(&format!("INSERT INTO {} (item) VALUES (?1)", table(list)))
        .classified()?;
    for item in items {
        insert.execute([item]).classified()?;
    }
    Ok(())
}

/// Appends dead letters, trims the oldest ones above the limits, and counts the trimmed ones.
fn append_dead(tx: &Connection, dead: &[Vec<u8>], limits: Limits) -> Step<()> {
    if dead.is_empty() {
        return Ok(());
    }
    push(tx, List::Dead, dead)?;
    let added: usize = dead.iter().map(Vec::len).sum();
    add(tx, DEAD_BYTES, delta(added))?;
    let mut count = length(tx, List::Dead)?;
    let mut bytes = counter(tx, DEAD_BYTES)?;
    let mut oldest = tx
        .prepare_cached("DELETE FROM dead WHERE id = (SELECT min(id) FROM dead) RETURNING item")
        .classified()?;
    while count > limits.dead_count || bytes > delta(limits.dead_bytes) {
        let trimmed: Option<Vec<u8>> = oldest
            .query_row([], |row| row.get(0))
            .optional()
            .classified()?;
        let Some(trimmed) = trimmed else { break };
        count -= 1;
        bytes -= delta(trimmed.len());
        add(tx, Counter::Trimmed.name(), 1)?;
        add(tx, DEAD_BYTES, -delta(trimmed.len()))?;
    }
    Ok(())
}

/// An entry of the table `ledger` that isn't a counter: the size of all dead letters, in bytes.
pub(super) const DEAD_BYTES: &str = "dead_bytes";

fn counter(tx: &Connection, name: &str) -> Step<i64> {
    let mut select = tx
        .prepare_cached("SELECT value FROM ledger WHERE name = ?1")
        .classified()?;
    let found = select.query_row([name], |row| row.get(0)).optional();
    Ok(found.classified()?.unwrap_or(0))
}

pub(super) fn add(tx: &Connection, name: &str, amount: i64) -> Step<()> {
    if amount == 0 {
        return Ok(());
    }
    tx.prepare_cached(
        "INSERT INTO ledger VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2",
    )
    .classified()?
    .execute(params![name, amount])
    .classified()?;
    Ok(())
}

/// A number of elements for SQL; more than there can be if it doesn't fit.
pub(super) fn saturating(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const fn millis(time: Timestamp) -> i64 {
    time.nanos() / 1_000_000
}
