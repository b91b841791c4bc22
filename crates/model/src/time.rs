//! Instants as Rigline stores them: whole nanoseconds since 1970 in UTC.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, Timelike};

#[cfg(test)]
mod tests;

const NANOS_PER_MICRO: i64 = 1_000;
const NANOS_PER_SEC: i64 = 1_000_000_000;

/// Below this a numeric timestamp means Unix seconds, from here on milliseconds.
const MILLIS_FROM: i64 = 100_000_000_000;
/// From here on a numeric timestamp means microseconds.
const MICROS_FROM: i64 = 100_000_000_000_000;
/// From here on a numeric timestamp means nanoseconds.
const NANOS_FROM: i64 = 100_000_000_000_000_000;

/// An instant in UTC, in nanoseconds since 1970-01-01T00:00:00Z (1677 to 2262).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text or number is no timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither RFC 3339 nor a number.
    #[error("not an RFC 3339 time with a zone, nor a number of seconds since 1970")]
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

    /// Reads an RFC 3339 time with `Z` or an offset, also as `+0100`.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        if let Some(time) = Self::parse_utc(text.as_bytes()) {
            return Ok(time);
        }
        let parsed = DateTime::parse_from_rfc3339(text).or_else(|error| {
            let with_colon = with_colon_in_offset(text).ok_or(error)?;
            DateTime::parse_from_rfc3339(&with_colon)
        });
        let parsed = parsed.map_err(|_| TimeError::Syntax)?;
        match parsed.timestamp_nanos_opt() {
            Some(ns) => Ok(Self(ns)),
            None if parsed.year() < 1970 => Err(TimeError::BeforeRange),
            None => Err(TimeError::AfterRange),
        }
    }

    /// Reads what [`Timestamp::write_to`] writes, which is most of what is read, without the general parser. `None` of
    /// anything else.
    fn parse_utc(text: &[u8]) -> Option<Self> {
        let (seconds, fraction) = text.strip_suffix(b"Z")?.split_at_checked(19)?;
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if marks.iter().any(|(place, mark)| seconds[*place] != *mark) {
            return None;
        }
        let part = |range: Range<usize>| number(&seconds[range]);
        let year = i32::try_from(part(0..4)?).ok()?;
        let date = NaiveDate::from_ymd_opt(year, part(5..7)?, part(8..10)?)?;
        let nanos = match fraction {
            [] => 0,
            [b'.', digits @ ..] if digits.len() <= 9 && !digits.is_empty() => {
                let missing = u32::try_from(9 - digits.len()).ok()?;
                number(digits)? * 10_u32.pow(missing)
            }
            _ => return None,
        };
        let time = date.and_hms_nano_opt(part(11..13)?, part(14..16)?, part(17..19)?, nanos)?;
        time.and_utc().timestamp_nanos_opt().map(Self)
    }

    /// Reads a JSON number: below 1e11 Unix seconds, below 1e14 milliseconds, below 1e17 microseconds,
    /// otherwise nanoseconds. Integers are exact. Numbers with a fraction or an exponent have the
    /// precision of a double, and seconds and milliseconds are rounded to the microsecond.
    pub fn parse_number(text: &str) -> Result<Self, TimeError> {
        if let Ok(integer) = text.parse() {
            return Self::from_integer(integer);
        }
        let number: f64 = text.parse().map_err(|_| TimeError::Syntax)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the cast saturates, and then fails"
        )]
        let rounded = |number: f64| number.round() as i64;
        let whole = rounded(number);
        if !number.is_finite() {
            return Err(TimeError::Syntax);
        }
        let micros = match whole {
            ..MILLIS_FROM => rounded(number * 1e6),
            MILLIS_FROM..MICROS_FROM => rounded(number * 1e3),
            MICROS_FROM.. => return Self::from_integer(whole),
        };
        Self::checked(micros, NANOS_PER_MICRO)
    }

    fn from_integer(integer: i64) -> Result<Self, TimeError> {
        let unit = match integer {
            ..MILLIS_FROM => NANOS_PER_SEC,
            MILLIS_FROM..MICROS_FROM => 1_000_000,
            MICROS_FROM..NANOS_FROM => NANOS_PER_MICRO,
            // A double beyond the range saturates to this.
            i64::MAX => return Err(TimeError::AfterRange),
            NANOS_FROM.. => 1,
        };
        Self::checked(integer, unit)
    }

    /// `count` units of `unit` nanoseconds since 1970.
    fn checked(count: i64, unit: i64) -> Result<Self, TimeError> {
        match count.checked_mul(unit) {
            Some(ns) => Ok(Self(ns)),
            None if count < 0 => Err(TimeError::BeforeRange),
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

/// The number of at most nine decimal digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    })
}

/// The string with a colon in an offset like `+0100` at its end; `None` without such an offset.
fn with_colon_in_offset(text: &str) -> Option<String> {
    let (rest, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let offset = rest.get(rest.len().checked_sub(3)?..)?;
    let is_offset =
        offset.starts_with(['+', '-']) && offset[1..].bytes().all(|b| b.is_ascii_digit());
    is_offset.then(|| format!("{rest}:{minutes}"))
}

fn saturating_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
