//! Publishes the lines of a file, with the gaps between their timestamps.

mod line;
mod lines;
mod settings;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use model::time::Timestamp;
use tokio::time::{Instant, sleep};
use transport::PublishError;

use self::line::Line;
use self::lines::Numbered;
use self::settings::Recording;
pub use self::settings::{ReplaySettings, Speed};
use crate::outlet::Outlet;

/// Most invalid lines that are logged; the others are counted.
const LOGGED: u64 = 5;
/// A wait of at least this length is logged: a wrong timestamp can mean years.
const LONG_WAIT: Duration = Duration::from_mins(1);

/// A file that is being replayed.
pub(crate) struct Replay {
    recording: Recording,
    speed: Speed,
    /// Most messages to send.
    count: u64,
    skipped: AtomicU64,
}

impl Replay {
    /// A replay of `recording`, of at most `count` messages.
    pub fn new(recording: Recording, speed: Speed, count: Option<usize>) -> Self {
        Self {
            recording,
            speed,
            count: count.map_or(u64::MAX, |count| count as u64),
            skipped: AtomicU64::new(0),
        }
    }

    /// Publishes each line at its time.
    pub async fn send(&self, outlet: &Outlet<'_>) -> anyhow::Result<()> {
        let recording = self.recording.clone();
        let mut lines = lines::read(move || recording.reader());
        let mut pace = Pace::new(self.speed);
        let mut sent = 0;
        while sent < self.count
            && let Some(numbered) = lines.recv().await
        {
            let cannot = || format!("cannot read {}", self.recording.name);
            let Numbered { number, end, line } = numbered.with_context(cannot)?;
            match line {
                Ok(line) => {
                    let taken = self.send_line(line, number, &mut pace, outlet).await?;
                    sent += u64::from(taken);
                }
                Err(bad) => self.skip(number, &bad),
            }
            if let Some(size) = self.recording.size {
                outlet.expect(expected(sent, end, size).min(self.count));
            }
        }
        Ok(())
    }

    /// Sends a line. Returns whether it was sent; otherwise it is skipped.
    async fn send_line(
        &self,
        line: Line,
        number: u64,
        pace: &mut Pace,
        outlet: &Outlet<'_>,
    ) -> anyhow::Result<bool> {
        pace.wait(line.timestamp, number).await;
        match outlet.send(line.topic, line.payload).await {
            Ok(()) => Ok(true),
            Err(error @ PublishError::Ended) => Err(error).context("cannot publish a line"),
            Err(error) => {
                self.skip(number, &error);
                Ok(false)
            }
        }
    }

    fn skip(&self, line: u64, error: &dyn std::error::Error) {
        let before = self.skipped.fetch_add(1, Ordering::Relaxed);
        if before < LOGGED {
            tracing::warn!(line, %error, "skipping an invalid line");
        } else if before == LOGGED {
            tracing::warn!(line, "further invalid lines are only counted");
        }
    }

    /// Returns an error if lines were skipped.
    pub fn check_skipped(&self) -> anyhow::Result<()> {
        let skipped = self.skipped.load(Ordering::Relaxed);
        let name = &self.recording.name;
        anyhow::ensure!(skipped == 0, "skipped {skipped} invalid lines of {name}");
        Ok(())
    }
}

/// Estimates the number of messages in a file of `size` bytes, from the number up to the offset `end`.
fn expected(sent: u64, end: u64, size: u64) -> u64 {
    let all = u128::from(sent) * u128::from(size.max(end)) / u128::from(end.max(1));
    u64::try_from(all).unwrap_or(u64::MAX)
}

/// The times of lines, relative to the first one with a timestamp. A delayed line doesn't delay later
/// ones.
struct Pace {
    speed: Speed,
    first: Option<(Timestamp, Instant)>,
}

impl Pace {
    fn new(speed: Speed) -> Self {
        Self { speed, first: None }
    }

    /// Waits until a line with this timestamp is due.
    async fn wait(&mut self, timestamp: Option<Timestamp>, line: u64) {
        let Some(timestamp) = timestamp else { return };
        let (first, start) = *self
            .first
            .get_or_insert_with(|| (timestamp, Instant::now()));
        // Zero for a line that is earlier than the first.
        let due = self.speed.scale(timestamp.since(first));
        let left = || due.saturating_sub(start.elapsed());
        if left() >= LONG_WAIT {
            let seconds = left().as_secs();
            tracing::info!(line, %timestamp, seconds, "waiting for the time of the next line");
        }
        while let wait = left()
            && !wait.is_zero()
        {
            sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::expected;

    #[test]
    fn expected_count_extrapolates_from_the_beginning_of_the_file() {
        assert_eq!(expected(10, 100, 1_000), 100);
        assert_eq!(expected(10, 1_000, 1_000), 10);
        assert_eq!(expected(0, 0, 0), 0);
        // The file grew after it was opened.
        assert_eq!(expected(10, 2_000, 1_000), 10);
        assert_eq!(expected(u64::MAX, 1, u64::MAX), u64::MAX);
    }
}
