//! The only place that reads the wall clock.

use std::time::Duration;

use model::Timestamp;

/// A wall clock. Code that needs the time of day takes one as a parameter, so that tests can run a
/// stage whose clock is wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    offset_ns: i64,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { offset_ns: 0 }
    }

    /// A clock that is `ahead` of the machine's.
    #[must_use]
    pub fn ahead(ahead: Duration) -> Self {
        Self {
            offset_ns: i64::try_from(ahead.as_nanos()).unwrap_or(i64::MAX),
        }
    }

    /// A clock that is `behind` the machine's.
    #[must_use]
    pub fn behind(behind: Duration) -> Self {
        Self {
            offset_ns: -Self::ahead(behind).offset_ns,
        }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the wall clock"
        )]
        let now = chrono::Utc::now();
        let ns = now.timestamp_nanos_opt().unwrap_or(i64::MAX);
        Timestamp::from_nanos(ns.saturating_add(self.offset_ns))
    }
}
