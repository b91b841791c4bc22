//! Measures the delay from a row's tick until it is stored.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::clock::Clock;
use model::row::Row;
use store::{Store, WriteError};

/// Rows of this time are measured.
const RECENT: Duration = Duration::from_secs(30);
/// Most rows that are measured.
const MOST: usize = 20_000;

/// The delays of recent rows. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Delays {
    recent: Arc<Mutex<VecDeque<(Instant, Duration)>>>,
}

impl Delays {
    fn add(&self, delays: impl Iterator<Item = Duration>) {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.extend(delays.map(|delay| (now, delay)));
        let excess = recent.len().saturating_sub(MOST);
        recent.drain(..excess);
    }

    /// The median and the 99th percentile of recent delays; `None` without rows.
    pub(super) fn median_and_p99(&self) -> Option<(Duration, Duration)> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.front().is_some_and(|(at, _)| at.elapsed() > RECENT) {
            recent.pop_front();
        }
        let mut delays: Vec<_> = recent.iter().map(|(_, delay)| *delay).collect();
        drop(recent);
        delays.sort_unstable();
        let at = |percent: usize| delays.get(delays.len() * percent / 100).copied();
        Some((at(50)?, at(99)?))
    }
}

/// A store that measures the delay of every row.
#[derive(Debug)]
pub(super) struct Timed<S> {
    store: S,
    delays: Delays,
    clock: Clock,
}

impl<S> Timed<S> {
    pub(super) const fn new(store: S, delays: Delays, clock: Clock) -> Self {
        Self {
            store,
            delays,
            clock,
        }
    }
}

impl<S: Store> Store for Timed<S> {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        self.store.write(rows).await?;
        let now = self.clock.now();
        self.delays
            .add(rows.iter().map(|row| now.since(row.timestamp)));
        Ok(())
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        self.store.preflight().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Delays;

    #[test]
    fn median_and_99th_percentile_are_of_all_recent_delays() {
        let delays = Delays::default();
        assert_eq!(delays.median_and_p99(), None);
        delays.add((0..100).rev().map(Duration::from_millis));
        let (median, p99) = (Duration::from_millis(50), Duration::from_millis(99));
        assert_eq!(delays.median_and_p99(), Some((median, p99)));
    }
}
