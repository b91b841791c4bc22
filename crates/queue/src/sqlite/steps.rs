//! What each call does inside its transaction.

use std::time::Duration;

use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::Limits;
use super::error::classify;
use crate::changes::{Append, Appended, Commit, Lease, Peek, Progress, Snapshot, State};
use crate::error::QueueError;
use crate::ledger::{Counter, Ledger};
use crate::list::{List, source_of};
use model::Stage;

pub(super) type Step<T> = Result<T, QueueError>;

/// Turns the database's errors into the queue's, in one word at each call.
pub(super) trait Named<T> {
    fn named(self) -> Step<T>;
}

impl<T> Named<T> for rusqlite::Result<T> {
    fn named(self) -> Step<T> {
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
    let length = usize::try_from(length(tx, List::Raw)?).unwrap_or(0);
    if length >= limits.list {
        return Ok(Appended::Full { length });
    }
    push(tx, List::Raw, &append.raw)?;
    bury(tx, &append.dead, limits)?;
    let number = |items: &[Vec<u8>]| i64::try_from(items.len()).unwrap_or(i64::MAX);
    add(tx, Counter::Accepted.name(), number(&append.raw))?;
    add(tx, Counter::DeadIngester.name(), number(&append.dead))?;
    Ok(Appended::Done {
        length: length + append.raw.len(),
        accepted: counter(tx, Counter::Accepted.name())?,
    })
}

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
    .named()?;
    tx.execute("INSERT OR IGNORE INTO meta VALUES ('partitions', '1')", [])
        .named()?;
    tx.execute("INSERT OR IGNORE INTO consumer (name) VALUES (?1)", [name])
        .named()?;
    let (token, until, tokens): (String, i64, i64) = tx
        .query_row(
            "SELECT token, until, tokens FROM consumer WHERE name = ?1",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .named()?;
    let held = !token.is_empty() && until > millis(now);
    if held && !token.ends_with(nonce) {
        return Ok(None);
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
    .named()?;
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
    if renewed.named()? == 1 {
        Ok(())
    } else {
        Err(QueueError::Fenced)
    }
}

pub(super) fn release(tx: &Connection, lease: &Lease, now: Timestamp) -> Step<()> {
    check_held(tx, lease, now)?;
    end_lease(tx, lease.consumer)
}

/// Ends the lease of whoever has it.
pub(super) fn end_lease(tx: &Connection, consumer: Stage) -> Step<()> {
    tx.execute(
        "UPDATE consumer SET token = '' WHERE name = ?1",
        [consumer.name()],
    )
    .named()?;
    Ok(())
}

/// [`QueueError::Fenced`] unless the lease is held.
pub(super) fn check_held(tx: &Connection, lease: &Lease, now: Timestamp) -> Step<()> {
    let held = tx.query_row(
        "SELECT count(*) FROM consumer WHERE name = ?1 AND token = ?2 AND until > ?3",
        params![lease.consumer.name(), lease.token, millis(now)],
        |row| row.get::<_, i64>(0),
    );
    match held.named()? {
        0 => Err(QueueError::Fenced),
        _ => Ok(()),
    }
}

pub(super) fn state(tx: &Connection, lease: &Lease, now: Timestamp) -> Step<State> {
    check_held(tx, lease, now)?;
    let mut select = tx
        .prepare_cached("SELECT key, value FROM state WHERE consumer = ?1")
        .named()?;
    let name = lease.consumer.name();
    let rows = select.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.named()?.collect::<rusqlite::Result<_>>().named()
}

pub(super) fn peek(tx: &Connection, consumer: Stage, max: usize) -> Step<Peek> {
    let source = source_of(consumer);
    let sql = format!("SELECT item FROM {} ORDER BY id LIMIT ?1", table(source));
    let mut select = tx.prepare_cached(&sql).named()?;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let items = select.query_map([max], |row| row.get(0)).named()?;
    let output = match consumer {
        Stage::Transformer => length(tx, List::Normalized)?,
        Stage::Ingester | Stage::Sink => 0,
    };
    Ok(Peek {
        number: progress(tx, consumer)?.number,
        items: items.collect::<rusqlite::Result<_>>().named()?,
        length: usize::try_from(length(tx, source)?).unwrap_or(0),
        output_length: usize::try_from(output).unwrap_or(0),
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
    check_head(tx, source_of(lease.consumer), commit)?;
    push(tx, List::Normalized, &commit.outputs)?;
    bury(tx, &commit.dead, limits)?;
    let mut put = tx
        .prepare_cached("INSERT OR REPLACE INTO state VALUES (?1, ?2, ?3)")
        .named()?;
    for (key, value) in &commit.puts {
        put.execute(params![name, key, value]).named()?;
    }
    let mut delete = tx
        .prepare_cached("DELETE FROM state WHERE consumer = ?1 AND key = ?2")
        .named()?;
    for key in &commit.deletes {
        delete.execute(params![name, key]).named()?;
    }
    for (counter, delta) in commit.ledger(lease.consumer) {
        add(tx, counter.name(), delta)?;
    }
    let source = table(source_of(lease.consumer));
    let take = i64::try_from(commit.take).unwrap_or(i64::MAX);
    let trim = format!("DELETE FROM {source} WHERE id < (SELECT min(id) FROM {source}) + ?1");
    tx.prepare_cached(&trim).named()?.execute([take]).named()?;
    tx.execute(
        "UPDATE consumer SET number = number + 1, by = ?2 WHERE name = ?1",
        params![name, lease.token],
    )
    .named()?;
    Ok(())
}

/// Whether the last element to be taken still is the one that was peeked at.
fn check_head(tx: &Connection, source: List, commit: &Commit) -> Step<()> {
    let (Some(last), Some(before)) = (&commit.last_taken, commit.take.checked_sub(1)) else {
        return Ok(());
    };
    let sql = format!(
        "SELECT item FROM {} ORDER BY id LIMIT 1 OFFSET ?1",
        table(source)
    );
    let mut select = tx.prepare_cached(&sql).named()?;
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let found: Option<Vec<u8>> = select
        .query_row([before], |row| row.get(0))
        .optional()
        .named()?;
    if found.as_ref() == Some(last) {
        Ok(())
    } else {
        Err(QueueError::Shifted)
    }
}

pub(super) fn progress(tx: &Connection, consumer: Stage) -> Step<Progress> {
    let mut select = tx
        .prepare_cached("SELECT number, by FROM consumer WHERE name = ?1")
        .named()?;
    let found = select
        .query_row([consumer.name()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?))
        })
        .optional()
        .named()?;
    let (number, by) = found.unwrap_or_default();
    Ok(Progress {
        number: u64::try_from(number).unwrap_or(0),
        by,
    })
}

pub(super) fn snapshot(tx: &Connection, now: Timestamp) -> Step<Snapshot> {
    let mut ledger = Ledger::default();
    ledger.raw = length(tx, List::Raw)?;
    ledger.normalized = length(tx, List::Normalized)?;
    ledger.dead = length(tx, List::Dead)?;
    let mut select = tx
        .prepare_cached("SELECT name, value FROM ledger")
        .named()?;
    let mut rows = select.query([]).named()?;
    while let Some(row) = rows.next().named()? {
        let (name, value): (String, i64) = (row.get(0).named()?, row.get(1).named()?);
        ledger.set_named(name.as_bytes(), value);
    }
    let instance = tx
        .query_row(
            "SELECT value FROM meta WHERE name = 'instance'",
            [],
            |row| row.get(0),
        )
        .optional()
        .named()?;
    Ok(Snapshot {
        instance: instance.unwrap_or_default(),
        server_time: now,
        ledger,
    })
}

pub(super) fn length(tx: &Connection, list: List) -> Step<i64> {
    let table = table(list);
    let sql = format!("SELECT coalesce(max(id) - min(id) + 1, 0) FROM {table}");
    tx.prepare_cached(&sql)
        .named()?
        .query_row([], |row| row.get(0))
        .named()
}

pub(super) fn push(tx: &Connection, list: List, items: &[Vec<u8>]) -> Step<()> {
    let mut insert = tx
        .prepare_cached(&format!("INSERT INTO {} (item) VALUES (?1)", table(list)))
        .named()?;
    for item in items {
        insert.execute([item]).named()?;
    }
    Ok(())
}

/// Appends dead letters and trims the oldest beyond the limits, counting what went.
fn bury(tx: &Connection, letters: &[Vec<u8>], limits: Limits) -> Step<()> {
    if letters.is_empty() {
        return Ok(());
    }
    push(tx, List::Dead, letters)?;
    let added: usize = letters.iter().map(Vec::len).sum();
    add(tx, DEAD_BYTES, i64::try_from(added).unwrap_or(i64::MAX))?;
    let mut count = usize::try_from(length(tx, List::Dead)?).unwrap_or(0);
    let bytes = counter(tx, DEAD_BYTES)?;
    let mut bytes = usize::try_from(bytes).unwrap_or(0);
    let mut oldest = tx
        .prepare_cached("DELETE FROM dead WHERE id = (SELECT min(id) FROM dead) RETURNING item")
        .named()?;
    while count > limits.dead_count || bytes > limits.dead_bytes {
        let gone: Option<Vec<u8>> = oldest.query_row([], |row| row.get(0)).optional().named()?;
        let Some(gone) = gone else { break };
        count -= 1;
        bytes = bytes.saturating_sub(gone.len());
        add(tx, Counter::Trimmed.name(), 1)?;
        add(
            tx,
            DEAD_BYTES,
            -i64::try_from(gone.len()).unwrap_or(i64::MAX),
        )?;
    }
    Ok(())
}

/// Beside the counters: how many bytes the dead letters have.
pub(super) const DEAD_BYTES: &str = "dead_bytes";

fn counter(tx: &Connection, name: &str) -> Step<i64> {
    let mut select = tx
        .prepare_cached("SELECT value FROM ledger WHERE name = ?1")
        .named()?;
    let found = select.query_row([name], |row| row.get(0)).optional();
    Ok(found.named()?.unwrap_or(0))
}

pub(super) fn add(tx: &Connection, name: &str, delta: i64) -> Step<()> {
    if delta == 0 {
        return Ok(());
    }
    tx.prepare_cached(
        "INSERT INTO ledger VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2",
    )
    .named()?
    .execute(params![name, delta])
    .named()?;
    Ok(())
}

const fn millis(time: Timestamp) -> i64 {
    time.nanos() / 1_000_000
}
