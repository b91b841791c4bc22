//! The name of a measurement.

use std::borrow::Cow;

use model::name::{Name, NameError};

/// The measurement of the pipeline `rigs`.
const RIGS: &str = "rig_measurements";

/// The measurement that a store's rows are points of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    name: String,
    /// The name as line protocol has it.
    escaped: Vec<u8>,
}

/// Why a string can't be the name of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeasurementError {
    /// No name at all, see the error.
    #[error("{0}")]
    Name(#[from] NameError),
    /// It starts with `#`: the server takes the line for a comment.
    #[error("starts with '#', which makes a comment of each line")]
    Comment,
    /// It starts with `_`.
    #[error("starts with '_', which InfluxDB keeps for itself")]
    Reserved,
    /// It has a backslash: the server stores the rows, but finds them in no query if the backslash is before
    /// a comma, a space or an equals sign.
    #[error("has a backslash, which InfluxDB doesn't read back as it was written")]
    Backslash,
}

impl Measurement {
    /// Validates a name: 1 to 256 bytes without control characters and backslashes, which don't start with
    /// `#` or `_`.
    pub fn new<'a>(name: impl Into<Cow<'a, str>>) -> Result<Self, MeasurementError> {
        let name = Name::new(name)?;
        if name.starts_with('#') {
            return Err(MeasurementError::Comment);
        }
        if name.starts_with('_') {
            return Err(MeasurementError::Reserved);
        }
        if name.contains('\\') {
            return Err(MeasurementError::Backslash);
        }
        // An equals sign is literal here.
        let escaped = name.replace(',', "\\,").replace(' ', "\\ ").into_bytes();
        Ok(Self {
            name: name.into_inner().into_owned(),
            escaped,
        })
    }

    /// The name as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The name as line protocol has it.
    pub(crate) fn escaped(&self) -> &[u8] {
        &self.escaped
    }
}

impl Default for Measurement {
    /// `rig_measurements`.
    fn default() -> Self {
        Self {
            name: RIGS.to_owned(),
            escaped: RIGS.as_bytes().to_vec(),
        }
    }
}
