//! Parsers and errors of settings. Every setting is a flag and an environment variable, and is checked
//! before a socket opens.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};

mod readings;
#[cfg(test)]
mod tests;

pub use self::readings::TimeLimitSettings;

/// An invalid setting: its name, the given value and the accepted values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {given:?} can't be used; accepted: {accepted}")]
pub struct BadSetting {
    variable: String,
    given: String,
    accepted: String,
}

impl BadSetting {
    /// An error for the value `given` of `variable`, where only `accepted` is valid.
    #[must_use]
    pub fn new(variable: &str, given: &str, accepted: &str) -> Self {
        Self {
            variable: variable.into(),
            given: given.into(),
            accepted: accepted.into(),
        }
    }

    /// Returns the error unless `ok`.
    pub fn unless(ok: bool, variable: &str, given: &str, accepted: &str) -> Result<(), Self> {
        if ok {
            Ok(())
        } else {
            Err(Self::new(variable, given, accepted))
        }
    }
}

/// A group of settings that are checked together.
pub trait Settings: clap::Args {
    /// Checks rules between settings, and reads secrets from their files.
    fn check(&mut self) -> Result<(), BadSetting>;
}

const DURATION_FORMS: &str = "a number of seconds, or one with ms, s, m, h or d: 250ms, 5s, 10m";

/// A hundred years: a longer duration would overflow when added to an instant.
const LONGEST_SECONDS: f64 = 3_153_600_000.0;

/// Reads `5s`, `250ms`, `10m`, `1h`, `29d`, or a plain number of seconds; fractions are allowed.
pub fn duration(value: &str) -> Result<Duration, String> {
    let value = value.trim();
    let split = value
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(DURATION_FORMS.to_owned()),
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(count) if plain && count * seconds <= LONGEST_SECONDS => {
            Ok(Duration::from_secs_f64(count * seconds))
        }
        _ => Err(DURATION_FORMS.to_owned()),
    }
}

/// As [`duration`], but not zero.
pub fn positive_duration(value: &str) -> Result<Duration, String> {
    match duration(value)? {
        Duration::ZERO => Err(format!("{DURATION_FORMS}, above 0")),
        duration => Ok(duration),
    }
}

/// A duration as it is given in a setting: `29d`, `90m`, `250ms`.
#[must_use]
pub fn written(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let whole = units
        .into_iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "ms"));
    format!("{}{name}", ms / unit)
}

const SIZE_FORMS: &str = "a number of bytes, or one with KiB, MiB or GiB: 65536, 64KiB";

/// Reads `64KiB`, `256MiB`, `1GiB`, or a plain number of bytes.
pub fn bytes(value: &str) -> Result<usize, String> {
    let value = value.trim();
    let split = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let scale: usize = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(SIZE_FORMS.to_owned()),
    };
    let count: usize = number.parse().map_err(|_| SIZE_FORMS.to_owned())?;
    count
        .checked_mul(scale)
        .filter(|size| *size > 0)
        .ok_or_else(|| SIZE_FORMS.to_owned())
}

/// Reads a whole number above zero.
pub fn count(value: &str) -> Result<usize, String> {
    match value.trim().parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a whole number above 0".to_owned()),
    }
}

/// Reads a path, which may be empty, as when the variable is set to an empty string.
#[must_use]
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Reads a string that isn't empty.
pub fn not_empty(value: &str) -> Result<String, String> {
    if value.trim().is_empty() {
        Err("a string that isn't empty".into())
    } else {
        Ok(value.into())
    }
}
