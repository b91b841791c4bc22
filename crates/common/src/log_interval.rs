//! Log messages that may repeat often.

use std::time::{Duration, Instant};

/// How often a warning about data is logged.
pub const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// Permits a log message at once, and then once per interval.
#[derive(Debug, Clone)]
pub struct LogInterval {
    interval: Duration,
    last: Option<Instant>,
}

impl LogInterval {
    /// At most one message per `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
        }
    }

    /// Whether the message may be logged `now`. If so, the next interval starts.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::LogInterval;

    #[test]
    fn first_message_is_due_and_then_one_per_interval() {
        let mut interval = LogInterval::new(Duration::from_secs(30));
        let start = Instant::now();
        let due: Vec<u64> = (0..=90)
            .filter(|second| interval.is_due(start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(due, [0, 30, 60, 90]);
    }
}
