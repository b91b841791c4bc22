//! Limits of a reading's timestamp, which the ingester and the transformer share.

use std::time::Duration;

use clap::Args;
use model::limits::TimeLimits;

use super::positive_duration;

/// Limits of a reading's timestamp, relative to its arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(next_help_heading = "Readings")]
pub struct TimeLimitSettings {
    /// A reading further than this ahead of its arrival is a dead letter; files of pipelines have `[limits]` instead
    #[arg(long, env = "MAX_FUTURE", default_value = "60s", value_parser = positive_duration)]
    pub max_future: Duration,
    /// A reading older than this at its arrival is a dead letter; keep it below the store's retention. Files of
    /// pipelines have `[limits]` instead
    #[arg(long, env = "MAX_AGE", default_value = "29d", value_parser = positive_duration)]
    pub max_age: Duration,
}

impl TimeLimitSettings {
    /// The limits as plain data.
    #[must_use]
    pub const fn limits(self) -> TimeLimits {
        let Self {
            max_future,
            max_age,
        } = self;
        TimeLimits {
            max_future,
            max_age,
        }
    }
}
