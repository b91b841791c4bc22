//! A value of a message to compare with.

use schemars::JsonSchema;
use serde::Deserialize;

/// A value of a message to compare with.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// true or false
    Bool(bool),
    /// A number
    Number(f64),
    /// A string
    String(String),
}
