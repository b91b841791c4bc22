//! The rows that a request selects.

use std::time::Duration;

use model::Timestamp;
use serde::Deserialize;
use store::history::{History, Selection, SeriesSpan};
use utoipa::IntoParams;

use crate::parts::Api;
use crate::problem::{Problem, unreadable};
use crate::time;

/// The default range begins this long ago.
const LAST: Duration = Duration::from_hours(1);
/// And ends this far ahead, since readings may be ahead of this clock.
const AHEAD: Duration = Duration::from_hours(1);

/// A series, fields and a time range.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RangeQuery {
    /// The key of the series, as the list of series has it.
    #[param(example = "RIG-01")]
    pub(crate) series: String,
    /// A field to read; may be repeated [default: all].
    #[serde(default)]
    pub(crate) field: Vec<String>,
    /// The first time [default: an hour ago].
    #[param(schema_with = time::schema, example = "-1h")]
    pub(crate) from: Option<String>,
    /// The first time after the range [default: an hour ahead].
    #[param(schema_with = time::schema, example = "now")]
    pub(crate) to: Option<String>,
}

/// A range that was read.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) series: String,
    pub(crate) fields: Vec<String>,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Range {
    /// Reads times relative to now.
    pub(crate) fn new(
        api: &Api,
        series: String,
        fields: Vec<String>,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Self, Problem> {
        let now = api.clock().now();
        let read = |name: &str, given: Option<&str>, default| match given {
            None => Ok(default),
            Some(text) => {
                time::parse(text, now).map_err(|error| Problem::invalid(format!("{name}: {error}")))
            }
        };
        Ok(Self {
            series,
            fields,
            from: read("from", from, now.minus(LAST))?,
            to: read("to", to, now.plus(AHEAD))?,
        })
    }

    /// The range of a query.
    pub(crate) fn of(api: &Api, query: RangeQuery) -> Result<Self, Problem> {
        let (from, to) = (query.from.as_deref(), query.to.as_deref());
        Self::new(api, query.series, query.field, from, to)
    }

    pub(crate) fn selection(&self) -> Selection<'_> {
        Selection {
            series: &self.series,
            fields: &self.fields,
            from: self.from,
            to: self.to,
        }
    }
}

/// The series of this key, with the time range of its rows.
pub(crate) async fn known_series<H: History>(
    history: &H,
    key: &str,
) -> Result<SeriesSpan, Problem> {
    let all = history.series().await.map_err(unreadable)?;
    let found = all.into_iter().find(|span| span.key == key);
    found.ok_or_else(|| unknown_series(key))
}

/// Checks that a series has rows, without reading which others there are.
pub(crate) async fn check_series<H: History>(history: &H, key: &str) -> Result<(), Problem> {
    if history
        .fields(Some(key))
        .await
        .map_err(unreadable)?
        .is_empty()
    {
        return Err(unknown_series(key));
    }
    Ok(())
}

/// The problem that there is no such series.
pub(crate) fn unknown_series(key: &str) -> Problem {
    Problem::not_found(format!("there is no series {key:?} with rows"))
}
