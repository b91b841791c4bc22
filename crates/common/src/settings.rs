//! Parsers and errors of settings. Every setting is a flag and an environment variable, and is checked
//! before a socket opens.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

mod readings;
#[cfg(test)]
mod tests;

pub use self::readings::TimeLimitSettings;
pub use model::units::{bytes, duration, positive_duration, written};

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
