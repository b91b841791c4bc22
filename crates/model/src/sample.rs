//! A sample: what one message held after decoding.

use crate::time::Timestamp;

/// The value of a reading.
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

/// Readings of one series at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Tag names with their values, in the order of the names, no name twice.
    pub tags: Vec<(String, String)>,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// Field names with their values, at least one, no name twice.
    pub values: Vec<(String, Value)>,
}
