//! Members of documents, and where their values come from.

use std::str::FromStr;

use super::check::{Checked, require};
use super::file::{PipelineFile, ShapeKind};
use super::store::StoreTable;
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

/// Checks the members of documents, or of records of Kafka.
pub(super) fn check(file: &PipelineFile, store: &StoreTable) -> Checked {
    let mut taken: Vec<&str> = Vec::new();
    let has_time = store
        .columns
        .values()
        .any(|source| matches!(**source, ColumnSource::Time | ColumnSource::Start));
    for (path, source) in &store.columns {
        let span = source.span();
        let is_valid = path.split('.').all(|part| {
            !part.is_empty() && !part.starts_with('$') && !part.contains(char::is_control)
        });
        require(
            is_valid && path != "_id" && !path.starts_with("_id."),
            span,
            || format!("{path:?} can't name a member of a document"),
        )?;
        let first = path.split('.').next().unwrap_or_default();
        require(has_time || first != "time", span, || {
            "the member time is the row's time, unless another one is \"$time\" or \"$start\""
                .to_owned()
        })?;
        // In their order, a member comes before those within it.
        let within = taken.iter().find(|outer| {
            path.strip_prefix(**outer)
                .is_some_and(|rest| rest.starts_with('.'))
        });
        require(within.is_none(), span, || {
            format!("{path:?} is within another member of the table")
        })?;
        taken.push(path);
        let is_window = file.shape() == ShapeKind::Window;
        let of_window = matches!(**source, ColumnSource::Start | ColumnSource::End);
        require(is_window || !of_window, span, || {
            "$start and $end are for shape = \"window\"".to_owned()
        })?;
        if let Some(name) = source.name() {
            let sources = store.columns.values();
            let count = sources.filter(|other| other.name() == Some(name)).count();
            require(count == 1, span, || {
                "a tag or a field can be in one member only".to_owned()
            })?;
        }
        if let ColumnSource::TimeOf(field) = &**source {
            // Rows of the other shapes may come without the field at first, or only with statistics of it.
            require(file.shape() == ShapeKind::Sample, span, || {
                "$time(FIELD) is for shape = \"sample\"".to_owned()
            })?;
            require(!file.tags().contains(&field.as_str()), span, || {
                format!("$time(FIELD) is for fields, and {field:?} is a tag")
            })?;
        }
    }
    Ok(())
}

read_from_string!(
    ColumnSource,
    "ColumnSource",
    "$time, $time(FIELD) for a field that holds a time, $start and $end of the window, $now when the row is first \
     stored, or the name of a tag or a field"
);
