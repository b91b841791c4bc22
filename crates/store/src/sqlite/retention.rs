//! Deletes rows past their retention, in steps that are short compared to a write.
//!
//! A pass visits every series, in steps. While nothing is written, steps run at an interval. Otherwise each
//! step deletes at least as many rows as were written since the last one, so that the file doesn't
//! grow.

use std::path::Path;
use std::time::{Duration, Instant};

use common::clock::Clock;
use rusqlite::{Connection, OptionalExtension, params};
use tracing::{info, warn};

use super::error::StatementError;
use super::memory::{HOUR, Memory};

#[cfg(test)]
mod tests;

/// Fewest rows that a step deletes, if there are as many. A series without rows counts as one.
const STEP: usize = 1_000;
/// Interval between two steps of a pass.
const PACE: Duration = Duration::from_millis(250);
/// Interval between two passes. Rows stay this much longer than their retention.
const PASS: Duration = Duration::from_mins(1);
/// Wait after a failed step.
const PAUSE: Duration = Duration::from_secs(5);
/// The wait when no step is due.
const LONG: Duration = Duration::from_hours(1);

/// The state of the deletion.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Zero: rows are kept for ever.
    retention: Duration,
    clock: Clock,
    /// When the next step is due.
    next: Instant,
    /// The series to continue with, within a pass.
    at: Option<i64>,
    /// Rows written since the last step.
    written: usize,
    ill: bool,
}

/// The result of a step.
struct Step {
    /// The series to continue with; `None` at the end of the pass.
    at: Option<i64>,
    /// A series, or all values of one of its fields, were deleted.
    vanished: bool,
}

impl Sweep {
    pub(super) fn new(retention: Duration, clock: Clock) -> Self {
        Self {
            retention,
            clock,
            next: Instant::now(),
            at: None,
            written: 0,
            ill: false,
        }
    }

    /// Time until the next step is due.
    pub(super) fn wait(&self) -> Duration {
        if self.retention.is_zero() {
            LONG
        } else {
            self.next.saturating_duration_since(Instant::now())
        }
    }

    /// Records that rows were written.
    pub(super) fn written(&mut self, rows: usize) {
        self.written = self.written.saturating_add(rows);
    }

    /// Runs a step if one is due.
    pub(super) fn step_if_due(
        &mut self,
        connection: &Connection,
        path: &Path,
        memory: &mut Memory,
    ) {
        let now = Instant::now();
        let behind = self.at.is_some() && !self.ill && self.written >= STEP;
        if self.retention.is_zero() || now < self.next && !behind {
            return;
        }
        let before = self.clock.now().minus(self.retention).nanos();
        let most = STEP.max(self.written.saturating_mul(2));
        match step(connection, self.at.unwrap_or(i64::MIN), before, most) {
            Ok(step) => {
                if step.vanished {
                    memory.clear();
                }
                if self.ill {
                    info!("old rows are deleted again");
                }
                self.ill = false;
                self.at = step.at;
                self.written = 0;
                let pass = PASS.min(self.retention);
                self.next = Instant::now() + if step.at.is_some() { PACE } else { pass };
            }
            Err(error) => {
                sqlite::roll_back(connection);
                memory.clear();
                if !self.ill {
                    let (StatementError::Retry(detail) | StatementError::Denied(detail)) =
                        StatementError::new(path, &error);
                    warn!("old rows can't be deleted: {detail}");
                }
                self.ill = true;
                self.next = Instant::now() + PAUSE;
            }
        }
    }
}

/// Deletes up to `most` rows with ticks before `before`, of the series from `at` on.
fn step(
    connection: &Connection,
    mut at: i64,
    before: i64,
    mut most: usize,
) -> rusqlite::Result<Step> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut vanished = false;
    let mut next = connection.prepare_cached("SELECT id FROM series WHERE id >= ?1 LIMIT 1")?;
    let left = loop {
        let series: Option<i64> = next.query_row([at], |row| row.get(0)).optional()?;
        let Some(series) = series else { break None };
        if most == 0 {
            break Some(series);
        }
        let deleted = delete(connection, series, before, most)?;
        if deleted > 0 {
            vanished |= tidy(connection, series)?;
        }
        most = most.saturating_sub(deleted.max(1));
        at = if most == 0 { series } else { series + 1 };
    };
    connection.execute_batch("COMMIT")?;
    Ok(Step { at: left, vanished })
}

fn delete(
    connection: &Connection,
    series: i64,
    before: i64,
    most: usize,
) -> rusqlite::Result<usize> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut delete = connection.prepare_cached(
        "DELETE FROM row WHERE series = ?1 AND tick < ifnull(
            (SELECT tick FROM row WHERE series = ?1 AND tick < ?2 ORDER BY tick LIMIT 1 OFFSET ?3), ?2)",
    )?;
    delete.execute(params![series, before, most])
}

/// Updates the other tables for a series' remaining rows. Returns whether it deleted anything.
fn tidy(connection: &Connection, series: i64) -> rusqlite::Result<bool> {
    let first: Option<i64> = connection
        .prepare_cached("SELECT min(tick) FROM row WHERE series = ?1")?
        .query_row([series], |row| row.get(0))?;
    let Some(first) = first else {
        connection.execute("DELETE FROM newest WHERE series = ?1", [series])?;
        connection.execute("DELETE FROM series WHERE id = ?1", [series])?;
        return Ok(true);
    };
    let hour = first.div_euclid(HOUR);
    let mut select =
        connection.prepare_cached("SELECT field FROM newest WHERE series = ?1 AND hour <= ?2")?;
    let doubtful: Vec<i64> = select
        .query_map([series, hour], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let end = hour.saturating_mul(HOUR).saturating_add(HOUR - 1);
    let mut gone = 0;
    for field in doubtful {
        let sql = format!(
            "DELETE FROM newest WHERE series = ?1 AND field = ?2 AND NOT EXISTS (
                SELECT 1 FROM row WHERE series = ?1 AND tick <= ?3 AND v{field} IS NOT NULL)"
        );
        gone += connection
            .prepare_cached(&sql)?
            .execute([series, field, end])?;
    }
    Ok(gone > 0)
}
