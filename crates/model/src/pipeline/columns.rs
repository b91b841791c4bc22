//! Members of documents, and where their values come from.

use std::str::FromStr;

use super::value::read_from_string;

/// Where the value of a member of a document comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// The row's time.
    Time,
    /// The start of the window, which is the row's time.
    Start,
    /// The end of the window.
    End,
    /// The time at which the row was first stored.
    Now,
    /// The tag or the field of this name.
    Named(String),
}

/// Why a string is no [`ColumnSource`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is empty, or starts with $ and isn't one of $time, $start, $end and $now")]
pub struct ColumnSourceError;

impl FromStr for ColumnSource {
    type Err = ColumnSourceError;

    fn from_str(text: &str) -> Result<Self, ColumnSourceError> {
        match text {
            "$time" => Ok(Self::Time),
            "$start" => Ok(Self::Start),
            "$end" => Ok(Self::End),
            "$now" => Ok(Self::Now),
            name if name.is_empty() || name.starts_with('$') => Err(ColumnSourceError),
            name => Ok(Self::Named(name.to_owned())),
        }
    }
}

read_from_string!(
    ColumnSource,
    "ColumnSource",
    "$time, $start and $end of the window, $now when the row is first stored, or the name of a tag or a field"
);
