//! Instants as Rigline stores them: whole nanoseconds since 1970 in UTC.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, Timelike};

#[cfg(test)]
mod tests;

const NANOS_PER_MICRO: i64 = 1_000;
const NANOS_PER_SEC: i64 = 1_000_000_000;

/// Below this a numeric timestamp means Unix seconds, from here on milliseconds.
const MILLIS_FROM: f64 = 1e11;
/// From here on a numeric timestamp has no meaning (microseconds and nanoseconds aren't guessed).
const NUMBER_LIMIT: f64 = 1e14;

/// An instant in UTC, in nanoseconds since 1970-01-01T00:00:00Z (1677 to 2262).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text or number is no timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither RFC 3339 nor a number that can be seconds or milliseconds.
    #[error("not an RFC 3339 time with a zone, nor Unix seconds or milliseconds")]
    Syntax,
    /// A proper time before the year 1678.
    #[error("before the year 1678")]
    BeforeRange,
    /// A proper time after the year 2261.
    #[error("after the year 2261")]
    AfterRange,
}

impl Timestamp {
    /// From nanoseconds since 1970.
    #[must_use]
    pub const fn from_nanos(ns: i64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// From milliseconds since 1970, saturating.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// Reads an RFC 3339 time with `Z` or an offset.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| TimeError::Syntax)?;
        match parsed.timestamp_nanos_opt() {
            Some(ns) => Ok(Self(ns)),
            None if parsed.year() < 1970 => Err(TimeError::BeforeRange),
            None => Err(TimeError::AfterRange),
        }
    }

    /// Reads a number: below 1e11 Unix seconds (with a fraction), from 1e11 to below 1e14
    /// milliseconds. Kept to the microsecond, the precision that a double has for such seconds.
    pub fn from_number(number: f64) -> Result<Self, TimeError> {
        if !number.is_finite() || number >= NUMBER_LIMIT {
            return Err(TimeError::Syntax);
        }
        let micros = if number < MILLIS_FROM {
            number * 1e6
        } else {
            number * 1e3
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the cast saturates, and then fails"
        )]
        let micros = micros.round() as i64;
        match micros.checked_mul(NANOS_PER_MICRO) {
            Some(ns) => Ok(Self(ns)),
            None if micros < 0 => Err(TimeError::BeforeRange),
            None => Err(TimeError::AfterRange),
        }
    }

    /// The tick of this instant: rounded down to `align`; a zero `align` keeps it exact.
    #[must_use]
    pub fn tick(self, align: Duration) -> Self {
        match i64::try_from(align.as_nanos()) {
            Ok(step) if step > 0 => Self(self.0.saturating_sub(self.0.rem_euclid(step))),
            _ => self,
        }
    }

    /// This instant moved forward, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(by)))
    }

    /// This instant moved back, saturating.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(by)))
    }

    /// How long after `earlier` this is; zero if it isn't.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The distance between two instants, whichever comes first.
    #[must_use]
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_nanos(self.0.abs_diff(other.0))
    }

    /// Appends the RFC 3339 form in UTC with `Z`; the fraction has 0, 3, 6 or 9 digits, as needed.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let time = DateTime::from_timestamp_nanos(self.0);
        let mut digits = |number: u32, width: u32, after: &[u8]| {
            for place in (0..width).rev() {
                let digit = number / 10_u32.pow(place) % 10;
                out.push(b"0123456789"[digit as usize]);
            }
            out.extend_from_slice(after);
        };
        digits(time.year().unsigned_abs(), 4, b"-");
        digits(time.month(), 2, b"-");
        digits(time.day(), 2, b"T");
        digits(time.hour(), 2, b":");
        digits(time.minute(), 2, b":");
        let ns = time.nanosecond();
        match ns {
            0 => digits(time.second(), 2, b"Z"),
            _ if ns.is_multiple_of(1_000_000) => {
                digits(time.second(), 2, b".");
                digits(ns / 1_000_000, 3, b"Z");
            }
            _ if ns.is_multiple_of(1_000) => {
                digits(time.second(), 2, b".");
                digits(ns / 1_000, 6, b"Z");
            }
            _ => {
                digits(time.second(), 2, b".");
                digits(ns, 9, b"Z");
            }
        }
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SEC)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(30);
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

fn saturating_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
