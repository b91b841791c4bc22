//! The series of a pipeline and their newest values.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use common::pipelines::Pipeline;
use serde::{Deserialize, Serialize};
use store::history::{History, Latest, SeriesLatest};
use utoipa::{IntoParams, ToSchema};

use super::select::unknown_series;
use super::value::{Cell, Time, age_seconds, tags};
use crate::extract::{PipelineName, Query};
use crate::parts::Api;
use crate::problem::{Problem, SeriesProblems, unreadable};

/// The series of a pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesList {
    series: Vec<SeriesInfo>,
}

/// A series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesInfo {
    /// Its key, which names it in this API: a rig's name, or its tags as a JSON object.
    #[schema(example = "RIG-01")]
    key: String,
    /// Its tags.
    tags: BTreeMap<String, String>,
    /// The time of its oldest row.
    first: Time,
    /// The time of its newest row.
    last: Time,
    /// How long ago its newest row was.
    age_seconds: f64,
    /// Whether it has gone silent: its newest row is older than 30 s and twice the median distance of its newest
    /// rows, beyond the time that rows of its pipeline wait for their readings.
    stale: bool,
    /// Its fields, ordered by name.
    fields: Vec<FieldInfo>,
}

/// A field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldInfo {
    /// Its name.
    name: String,
    /// What it is measured in, if the pipeline's file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

/// Newest values.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestList {
    series: Vec<LatestOfSeries>,
}

/// The newest values of a series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestOfSeries {
    /// Its key.
    key: String,
    /// The newest value of each field, ordered by name.
    values: Vec<LatestValue>,
}

/// The newest value of a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestValue {
    /// The field.
    field: String,
    /// The value.
    value: Cell,
    /// What it is measured in, if the pipeline's file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// The time of its row.
    time: Time,
    /// How long ago that was.
    age_seconds: f64,
}

/// Whose newest values to read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LatestQuery {
    /// The key of a series [default: all series].
    series: Option<String>,
}

/// What a field is measured in, if the pipeline's file says so.
pub(crate) fn unit(pipeline: &Pipeline, field: &str) -> Option<String> {
    pipeline.file()?.unit_of(field).map(str::to_owned)
}

/// Lists the series, ordered by key.
#[utoipa::path(
    get,
    operation_id = "listSeries",
    path = "/pipelines/{pipeline}/series",
    tag = "rows",
    params(PipelineName),
    responses(
        (status = 200, body = SeriesList),
        SeriesProblems,
    ),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
) -> Result<Json<SeriesList>, Problem> {
    let part = api.pipeline(&name)?;
    let history = &part.history;
    let spans = history.series().await.map_err(unreadable)?;
    let latest = history
        .latest_of_all()
        .await
        .map_err(unreadable)?
        .into_iter();
    let mut fields: HashMap<_, _> = latest.map(|it| (it.key, it.values)).collect();
    let now = api.clock().now();
    let stale = api
        .staleness()
        .of(part, &spans, now)
        .await
        .map_err(unreadable)?;
    let series = spans.into_iter().map(|span| {
        let fields = fields.remove(&span.key).unwrap_or_default().into_iter();
        let fields = fields.map(|latest| FieldInfo {
            unit: unit(&part.pipeline, &latest.field),
            name: latest.field,
        });
        SeriesInfo {
            tags: tags(&span.tags),
            stale: stale.contains(&span.key),
            key: span.key,
            first: Time(span.first),
            last: Time(span.last),
            age_seconds: age_seconds(span.last, now),
            fields: fields.collect(),
        }
    });
    Ok(Json(SeriesList {
        series: series.collect(),
    }))
}

/// Reads the newest value of each field, of one series or of all.
#[utoipa::path(
    get,
    operation_id = "getLatest",
    path = "/pipelines/{pipeline}/latest",
    tag = "rows",
    params(PipelineName, LatestQuery),
    responses(
        (status = 200, body = LatestList),
        SeriesProblems,
    ),
)]
pub(crate) async fn latest(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
    Query(query): Query<LatestQuery>,
) -> Result<Json<LatestList>, Problem> {
    let part = api.pipeline(&name)?;
    let history = &part.history;
    let found = match query.series {
        None => history.latest_of_all().await.map_err(unreadable)?,
        Some(key) => {
            let values = history.latest(&key).await.map_err(unreadable)?;
            if values.is_empty() {
                return Err(unknown_series(&key));
            }
            vec![SeriesLatest { key, values }]
        }
    };
    let now = api.clock().now();
    let value = |latest: Latest| LatestValue {
        unit: unit(&part.pipeline, &latest.field),
        field: latest.field,
        value: Cell(latest.value),
        time: Time(latest.tick),
        age_seconds: age_seconds(latest.tick, now),
    };
    let series = found.into_iter().map(|series| LatestOfSeries {
        key: series.key,
        values: series.values.into_iter().map(value).collect(),
    });
    Ok(Json(LatestList {
        series: series.collect(),
    }))
}
