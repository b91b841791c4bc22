//! Parsers and errors of settings. Every setting is a flag and an environment variable, and is checked
//! before a socket opens.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

mod readings;
mod redis;
#[cfg(test)]
mod tests;
mod tls;

pub use self::readings::TimeLimitSettings;
pub use self::redis::RedisSettings;
pub use self::tls::{InfluxTls, KafkaTls, MqttTls, RedisTls};
pub use model::units::{bytes, duration, positive_duration, written};

/// A setting that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// An invalid value.
    #[error("{variable}: {given:?} can't be used; accepted: {accepted}")]
    Value {
        /// The setting's name.
        variable: String,
        /// The given value.
        given: String,
        /// The accepted values.
        accepted: String,
    },
    /// A file of settings.
    #[error("{0}")]
    File(String),
}

impl BadSetting {
    /// An error for the value `given` of `variable`, where only `accepted` is valid.
    #[must_use]
    pub fn new(variable: &str, given: &str, accepted: &str) -> Self {
        Self::Value {
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

/// What to do about a cargo feature that this program was built without.
#[must_use]
pub fn built_without(feature: &str) -> String {
    format!(
        "this program was built without the feature {feature} (cargo build --features {feature}; container images \
         and releases have it)"
    )
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
