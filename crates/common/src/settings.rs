//! Reading settings: every one is a flag and an environment variable, checked before a socket
//! opens.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};

mod readings;
#[cfg(test)]
mod tests;

pub use self::readings::TimeLimitSettings;

/// A setting that can't be used: which, what was given, what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {given:?} can't be used; accepted: {accepted}")]
pub struct BadSetting {
    variable: String,
    given: String,
    accepted: String,
}

impl BadSetting {
    /// `variable` was `given`, but only `accepted` will do.
    #[must_use]
    pub fn new(variable: &str, given: &str, accepted: &str) -> Self {
        Self {
            variable: variable.into(),
            given: given.into(),
            accepted: accepted.into(),
        }
    }

    /// Fails with these words unless `ok` holds.
    pub fn unless(ok: bool, variable: &str, given: &str, accepted: &str) -> Result<(), Self> {
        if ok {
            Ok(())
        } else {
            Err(Self::new(variable, given, accepted))
        }
    }
}

/// A group of settings that may have more to check than each value on its own.
pub trait Settings: clap::Args {
    /// Checks what the parser can't see, and reads secrets from their files.
    fn check(&mut self) -> Result<(), BadSetting>;
}

const DURATION_FORMS: &str = "a number of seconds, or one with ms, s, m, h or d: 250ms, 5s, 10m";

/// A hundred years: longer ones would overflow when added to an instant.
const LONGEST_SECONDS: f64 = 3_153_600_000.0;

/// Reads `5s`, `250ms`, `10m`, `1h`, `29d`, or a plain number of seconds; fractions are allowed.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
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
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("{DURATION_FORMS}, above 0")),
        duration => Ok(duration),
    }
}

const SIZE_FORMS: &str = "a number of bytes, or one with KiB, MiB or GiB: 65536, 64KiB";

/// Reads `64KiB`, `256MiB`, `1GiB`, or a plain number of bytes.
pub fn bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
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
pub fn count(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a whole number above 0".to_owned()),
    }
}

/// Reads a path, which may be empty: so is a variable that is set to nothing.
#[must_use]
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Reads a text that isn't empty.
pub fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err("a text that isn't empty".into())
    } else {
        Ok(text.into())
    }
}
