//! How far from its arrival a reading may be.

use std::time::Duration;

use crate::dead_letter::{Reason, Rejection};
use crate::time::Timestamp;
use crate::units::written;

/// How far from its arrival a reading may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// How far ahead of its arrival.
    pub max_future: Duration,
    /// How old at its arrival.
    pub max_age: Duration,
}

impl TimeLimits {
    /// Checks the time of a reading against the time when it `arrived`.
    pub fn check(&self, timestamp: Timestamp, arrived: Timestamp) -> Result<(), Rejection> {
        let Self {
            max_future,
            max_age,
        } = *self;
        if timestamp > arrived.plus(max_future) {
            let detail = format!(
                "{timestamp} is more than {} ahead of its arrival {arrived}",
                written(max_future)
            );
            return Err(Rejection::new(Reason::Future, detail));
        }
        if timestamp < arrived.minus(max_age) {
            let detail = format!(
                "{timestamp} was more than {} old at its arrival {arrived}",
                written(max_age)
            );
            return Err(Rejection::new(Reason::Past, detail));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::TimeLimits;
    use crate::dead_letter::Reason;
    use crate::time::Timestamp;

    #[test]
    fn both_edges_are_inside() {
        let limits = TimeLimits {
            max_future: Duration::from_mins(1),
            max_age: Duration::from_hours(1),
        };
        let arrived = Timestamp::from_millis(1_762_093_293_512);
        let reason = |taken| {
            limits
                .check(taken, arrived)
                .map_err(|rejection| rejection.reason)
        };
        let ns = Duration::from_nanos(1);
        let (newest, oldest) = (
            arrived.plus(limits.max_future),
            arrived.minus(limits.max_age),
        );
        assert_eq!(reason(newest), Ok(()));
        assert_eq!(reason(newest.plus(ns)), Err(Reason::Future));
        assert_eq!(reason(oldest), Ok(()));
        assert_eq!(reason(oldest.minus(ns)), Err(Reason::Past));
    }
}
