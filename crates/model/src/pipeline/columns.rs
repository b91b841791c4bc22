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
    /// The field of this name, which holds a time of RFC 3339 and is stored as a date.
    TimeOf(String),
    /// The tag or the field of this name.
    Named(String),
}

/// Why a string is no [`ColumnSource`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is empty, or starts with $ and isn't one of $time, $time(FIELD), $start, $end and $now"
)]
pub struct ColumnSourceError;

impl ColumnSource {
    /// The tag or the field that it names.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::TimeOf(name) | Self::Named(name) => Some(name),
            Self::Time | Self::Start | Self::End | Self::Now => None,
        }
    }
}

impl FromStr for ColumnSource {
    type Err = ColumnSourceError;

    fn from_str(text: &str) -> Result<Self, ColumnSourceError> {
        match text {
            "$time" => Ok(Self::Time),
            "$start" => Ok(Self::Start),
            "$end" => Ok(Self::End),
            "$now" => Ok(Self::Now),
            "" => Err(ColumnSourceError),
            function if function.starts_with('$') => {
                let field = function.strip_prefix("$time(");
                let field = field.and_then(|field| field.strip_suffix(')'));
                let field = field.filter(|field| !field.is_empty());
                let field = field.ok_or(ColumnSourceError)?;
                Ok(Self::TimeOf(field.to_owned()))
            }
            name => Ok(Self::Named(name.to_owned())),
        }
    }
}

read_from_string!(
    ColumnSource,
    "ColumnSource",
    "$time, $time(FIELD) for a field that holds a time, $start and $end of the window, $now when the row is first \
     stored, or the name of a tag or a field"
);
