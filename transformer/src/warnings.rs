//! Warnings about readings that rows leave out, or that come late.

use std::time::{Duration, Instant};

use common::log_interval::{LogInterval, WARNING_INTERVAL};

use crate::omitted::{Examples, LateExample, SupersededExample};
use crate::settings::ShapeSettings;
use crate::shape::Counts;

/// Logs at most one warning of each kind per 30 s: how many readings since the last one, an example, and
/// the setting that changes it.
#[derive(Debug)]
pub struct Warnings {
    align: Duration,
    late_window: Duration,
    superseded: Warning<SupersededExample>,
    late: Warning<LateExample>,
}

#[derive(Debug)]
struct Warning<E> {
    log: LogInterval,
    unlogged: u64,
    /// The newest example.
    example: Option<E>,
}

impl Warnings {
    /// For rows that are made by these settings.
    #[must_use]
    pub const fn new(settings: &ShapeSettings) -> Self {
        // A window takes all of its readings, and a sample is a row of its own: only the pivot leaves
        // readings out or writes them as rows of their own.
        let (align, late_window) = match settings {
            ShapeSettings::Pivot(rows) => (rows.align, rows.late_window),
            ShapeSettings::Window(windows) => (Duration::ZERO, windows.late_window),
            ShapeSettings::Sample(_) => (Duration::ZERO, Duration::ZERO),
        };
        Self {
            align,
            late_window,
            superseded: Warning::new(),
            late: Warning::new(),
        }
    }

    /// Adds what a step counted, and logs what is due.
    pub fn add(&mut self, counts: &Counts, examples: Examples, now: Instant) {
        let superseded = self
            .superseded
            .add(counts.superseded, examples.superseded, now);
        if let Some((count, example)) = superseded {
            let remedy = superseded_remedy(&example, self.align);
            tracing::warn!(
                readings = count,
                series = example.series,
                field = example.field,
                row = %example.tick,
                "left out readings of fields that the row had a reading of already; {remedy}"
            );
        }
        if let Some((count, example)) = self.late.add(counts.late, examples.late, now) {
            tracing::warn!(
                readings = count,
                series = example.series,
                field = example.field,
                timestamp = %example.time,
                newest = %example.newest,
                "wrote readings as rows of their own, because they are more than LATE_WINDOW ({:?}) \
                 older than the newest one of their series; a repetition of one of them isn't recognised. If their \
                 timestamps are right, a larger LATE_WINDOW helps",
                self.late_window
            );
        }
    }
}

impl<E> Warning<E> {
    const fn new() -> Self {
        Self {
            log: LogInterval::new(WARNING_INTERVAL),
            unlogged: 0,
            example: None,
        }
    }

    /// Returns the count and the example if a message is due.
    fn add(&mut self, count: u64, example: Option<E>, now: Instant) -> Option<(u64, E)> {
        self.unlogged += count;
        self.example = example.or(self.example.take());
        if self.example.is_none() || !self.log.is_due(now) {
            return None;
        }
        let count = std::mem::take(&mut self.unlogged);
        self.example.take().map(|example| (count, example))
    }
}

/// What to do about superseded readings, by the example.
fn superseded_remedy(example: &SupersededExample, align: Duration) -> String {
    let (series, field) = (&example.series, &example.field);
    match example.gap {
        Some(Duration::ZERO) => format!(
            "{series}/{field} sent several values with the same timestamp, and a row takes the first"
        ),
        Some(gap) if gap < align => format!(
            "{} readings of {series}/{field} came within {align:?}; ALIGN={:?} keeps them",
            example.readings + 1,
            round_down(gap)
        ),
        _ => format!(
            "{series}/{field} sends faster than ALIGN ({align:?}); a smaller ALIGN keeps them"
        ),
    }
}

/// The longest duration of 1, 2 or 5 times a power of ten nanoseconds that isn't longer than `gap`.
fn round_down(gap: Duration) -> Duration {
    let exponent = gap.as_nanos().checked_ilog10().unwrap_or(0);
    let unit = Duration::from_nanos(10_u64.saturating_pow(exponent));
    let longest = [5, 2].map(|factor| unit.saturating_mul(factor));
    let longest = longest.into_iter().find(|rounded| *rounded <= gap);
    longest.unwrap_or(unit)
}

#[cfg(test)]
mod tests;
