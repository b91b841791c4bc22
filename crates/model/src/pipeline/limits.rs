//! The table of limits.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::plain::{Plain, plain};
use super::value::{At, Period};
use crate::limits::TimeLimits;

/// Limits of times and numbers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsTable {
    /// Older readings are dead letters; "none" for history [default: 29d]
    pub max_age: Option<At<MaxAge>>,
    /// Readings further ahead of the clock are dead letters [default: 60s]
    pub max_future: Option<At<Period>>,
    /// How far behind its series' newest time a reading still changes what was emitted [default: 60s]
    pub late_window: Option<At<Period>>,
    /// The state of a series without readings is deleted after this time [default: 1h]
    pub series_idle: Option<At<Period>>,
    /// Largest payload in bytes [default: 65536]
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<usize>>")]
    pub max_payload: Option<At<usize>>,
    /// Most series at a time [default: 100000]
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<usize>>")]
    pub max_series: Option<At<usize>>,
    /// Most fields at a time [default: 1000]
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<usize>>")]
    pub max_fields: Option<At<usize>>,
    /// Most fields of a row [default: 256]
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<usize>>")]
    pub max_row_fields: Option<At<usize>>,
}

impl LimitsTable {
    /// The largest payload, in bytes.
    pub const MAX_PAYLOAD: usize = 64 << 10;

    /// How far from its arrival a reading may be.
    #[must_use]
    pub fn times(&self) -> TimeLimits {
        let max_future = self.max_future.as_ref();
        TimeLimits {
            max_future: max_future.map_or(Duration::from_mins(1), |period| period.0),
            max_age: match self.max_age.as_deref() {
                None => Duration::from_hours(29 * 24),
                Some(MaxAge::None) => Duration::MAX,
                Some(MaxAge::Period(period)) => period.0,
            },
        }
    }
}

/// The greatest age of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxAge {
    /// Any age.
    None,
    /// At most this.
    Period(Period),
}
