//! A sample: what one message held after decoding.

use std::fmt;

use crate::name::Name;
use crate::time::Timestamp;

/// Tag names with their values, in the order of the names, no name twice.
pub type Tags<'a> = Vec<(Name<'a>, Name<'a>)>;

/// The value of a reading. A field's type is that of its first value in a store.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A finite number.
    Float(f64),
    /// An integer, of a field of that type.
    Integer(i64),
    /// A boolean, of a field of that type.
    Bool(bool),
    /// A string, of a field of that type.
    String(String),
}

impl Value {
    /// The value as a number, if it is one.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "statistics are made with doubles"
    )]
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Integer(value) => Some(*value as f64),
            Self::Bool(_) | Self::String(_) => None,
        }
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl fmt::Display for Value {
    /// A number or a boolean as JSON has it; a string as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => f.pad(zmij::Buffer::new().format(*value)),
            Self::Integer(value) => f.pad(itoa::Buffer::new().format(*value)),
            Self::Bool(value) => f.pad(if *value { "true" } else { "false" }),
            Self::String(value) => f.pad(value),
        }
    }
}

/// Readings of one series at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// What identifies the series.
    pub tags: Tags<'a>,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// Field names with their values, at least one, no name twice.
    pub values: Vec<(Name<'a>, Value)>,
}
