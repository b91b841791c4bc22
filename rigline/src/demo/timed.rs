//! Measures the delay from a reading's arrival until its row is stored.
//!
//! A row doesn't say when its readings arrived. So one message of each batch that arrives is noted, with
//! the key of the row that it will be part of, until a row of that key is stored.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::clock::Clock;
use ingester::decode::decode;
use ingester::settings::ReadingLimits;
use model::row::Row;
use model::time::Timestamp;

use crate::up::Observer;

/// Rows that were stored in this time are measured.
const RECENT: Duration = Duration::from_secs(30);
/// Most rows that are measured, and most arrivals that are noted.
const MOST: usize = 20_000;

/// Arrivals of rows that aren't stored yet, and the delays of recent rows. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Delays {
    figures: Arc<Mutex<Figures>>,
}

#[derive(Debug, Default)]
struct Figures {
    /// By rig and tick: when a reading of the row arrived.
    arrivals: HashMap<(String, Timestamp), Instant>,
    /// When a row was stored, and its delay.
    recent: VecDeque<(Instant, Duration)>,
}

impl Delays {
    /// Notes that a reading of a row has arrived, unless an earlier one of it is noted.
    fn arrived(&self, rig: &str, tick: Timestamp, at: Instant) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if figures.arrivals.len() >= MOST {
            // Rows of these that are stored yet aren't measured.
            figures.arrivals.clear();
        }
        if let Entry::Vacant(place) = figures.arrivals.entry((rig.to_owned(), tick)) {
            place.insert(at);
        }
    }

    /// Measures the rows of noted arrivals, which were stored just now.
    fn stored(&self, rows: &[Row<'_>]) {
        let now = Instant::now();
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            let Some((_, rig)) = row.tags.first() else {
                continue;
            };
            let key = (rig.as_str().to_owned(), row.timestamp);
            if let Some(arrived) = figures.arrivals.remove(&key) {
                figures.recent.push_back((now, now - arrived));
            }
        }
        let excess = figures.recent.len().saturating_sub(MOST);
        figures.recent.drain(..excess);
    }

    /// The median and the 99th percentile of recent delays; `None` without rows.
    pub(super) fn median_and_p99(&self) -> Option<(Duration, Duration)> {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = &mut figures.recent;
        while recent.front().is_some_and(|(at, _)| at.elapsed() > RECENT) {
            recent.pop_front();
        }
        let mut delays: Vec<_> = recent.iter().map(|(_, delay)| *delay).collect();
        drop(figures);
        delays.sort_unstable();
        let at = |percent: usize| delays.get(delays.len() * percent / 100).copied();
        Some((at(50)?, at(99)?))
    }
}

/// Measures the delays of the pipeline `rigs`.
#[derive(Debug)]
pub(super) struct Timing {
    pub(super) delays: Delays,
    /// Those of its ingester.
    pub(super) limits: ReadingLimits,
    /// That of its transformer.
    pub(super) align: Duration,
    pub(super) clock: Clock,
}

impl Observer for Timing {
    fn arrived(&self, topic: &str, payload: &[u8], at: Instant) {
        if let Ok(decoded) = decode(topic, payload, self.clock.now(), &self.limits) {
            let reading = decoded.reading;
            let tick = reading.timestamp.tick(self.align);
            self.delays.arrived(reading.rig_id.as_str(), tick, at);
        }
    }

    fn stored(&self, rows: &[Row<'_>]) {
        self.delays.stored(rows);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use model::name::Name;
    use model::row::Row;
    use model::time::Timestamp;

    use super::{Delays, MOST};

    fn row(rig: &'static str, second: u64) -> Row<'static> {
        let tick = Timestamp::from_nanos(0).plus(Duration::from_secs(second));
        Row::of_rig(Name::new(rig).unwrap(), tick)
    }

    #[test]
    fn a_row_is_measured_once_from_its_first_arrival_that_is_noted() {
        let delays = Delays::default();
        assert_eq!(delays.median_and_p99(), None);
        let start = Instant::now();
        let earlier = start.checked_sub(Duration::from_secs(7)).unwrap();
        let first = row("RIG-1", 5);
        delays.arrived("RIG-1", first.timestamp, earlier);
        delays.arrived("RIG-1", first.timestamp, start);
        // Nothing is noted of these.
        delays.stored(&[row("RIG-1", 6), row("RIG-2", 5)]);
        assert_eq!(delays.median_and_p99(), None);
        delays.stored(std::slice::from_ref(&first));
        let (median, p99) = delays.median_and_p99().unwrap();
        assert_eq!(median, p99);
        let waited = start.elapsed() + Duration::from_secs(7);
        assert!(
            (Duration::from_secs(7)..=waited).contains(&median),
            "{median:?}"
        );
        // Its second row isn't measured.
        delays.stored(&[first]);
        assert_eq!(delays.median_and_p99().unwrap().0, median);
    }

    #[test]
    fn median_and_99th_percentile_are_of_all_recent_delays() {
        let delays = Delays::default();
        let start = Instant::now();
        let rows: Vec<_> = (0..100).rev().map(|second| row("RIG-1", second)).collect();
        for (row, ms) in rows.iter().zip((0..100).rev()) {
            let earlier = start.checked_sub(Duration::from_millis(ms)).unwrap();
            delays.arrived("RIG-1", row.timestamp, earlier);
        }
        // All are stored at one instant.
        delays.stored(&rows);
        let (median, p99) = delays.median_and_p99().unwrap();
        assert!(median >= Duration::from_millis(50), "{median:?}");
        assert_eq!(p99.checked_sub(median), Some(Duration::from_millis(49)));
    }

    #[test]
    fn arrivals_whose_rows_are_never_stored_take_limited_memory() {
        let delays = Delays::default();
        for second in 0..3 * MOST as u64 {
            delays.arrived("RIG-1", row("RIG-1", second).timestamp, Instant::now());
        }
        assert!(delays.figures.lock().unwrap().arrivals.len() <= MOST);
    }
}
