//! Exponential backoff with jitter and an upper bound, without end.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The waits between retries: they double from `min`, with jitter, and never exceed `max`. Waits vary
/// also at `max`: constant waits can stay in step with a periodic outage, so that every retry fails.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    waits: ExponentialBackoff,
    max: Duration,
}

impl Backoff {
    /// Waits from `min` up to `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        // The jitter comes on top, up to as much again.
        let builder = ExponentialBuilder::default()
            .with_min_delay(min)
            .with_max_delay((max / 2).max(min))
            .with_factor(2.0)
            .without_max_times()
            .with_jitter();
        Self {
            waits: builder.build(),
            builder,
            max,
        }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.max).min(self.max)
    }

    /// Starts again from the shortest wait, after a success.
    pub fn reset(&mut self) {
        self.waits = self.builder.build();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Backoff;

    proptest! {
        #[test]
        fn waits_stay_between_their_bounds(min in 1_u64..500, factor in 1_u64..200) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min * factor));
            let mut backoff = Backoff::new(min, max);
            for _ in 0..50 {
                let wait = backoff.next_wait();
                prop_assert!((min..=max).contains(&wait), "{wait:?} outside {min:?}..={max:?}");
            }
            backoff.reset();
            prop_assert!(backoff.next_wait() <= (min * 2).min(max));
        }

        #[test]
        fn waits_vary_also_at_the_upper_bound(min in 1_u64..500, factor in 2_u64..200) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min * factor));
            let mut backoff = Backoff::new(min, max);
            let waits: Vec<_> = (0..50).map(|_| backoff.next_wait()).skip(20).collect();
            let least = waits.iter().min().copied().unwrap_or_default();
            let most = waits.iter().max().copied().unwrap_or_default();
            prop_assert!(most.saturating_sub(least) > max / 10, "{least:?} to {most:?}");
            prop_assert!(least >= max / 2, "{least:?} of {max:?}");
        }
    }
}
