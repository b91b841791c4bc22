//! Statistics of time ranges, whole or in buckets.

use axum::Json;
use axum::extract::State;
use model::units;
use serde::{Deserialize, Serialize};
use store::history::{Bucket, FieldBuckets, FieldStatistics, History};
use utoipa::{IntoParams, ToSchema};

use super::select::{Range, RangeQuery, check_series};
use super::value::Time;
use crate::extract::{PipelineName, Query};
use crate::parts::Api;
use crate::problem::{Problem, SeriesProblems, unreadable};
use crate::time;

/// What to read, and how long buckets are.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BucketsQuery {
    /// The key of the series, as the list of series has it.
    #[param(example = "RIG-01")]
    series: String,
    /// A field to read; may be repeated [default: all].
    #[serde(default)]
    field: Vec<String>,
    /// The first time [default: an hour ago].
    #[param(schema_with = time::schema, example = "-1h")]
    from: Option<String>,
    /// The first time after the range [default: an hour ahead].
    #[param(schema_with = time::schema, example = "now")]
    to: Option<String>,
    /// The length of a bucket: 250ms, 10s, 5m, 1h or 1d.
    #[param(pattern = "^[1-9][0-9]{0,5}(ms|s|m|h|d)$", example = "1m")]
    every: String,
}

/// Buckets of fields.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BucketsList {
    /// The fields that have numbers in the range, ordered by name.
    fields: Vec<BucketsOfField>,
}

/// Buckets of a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BucketsOfField {
    /// The field.
    name: String,
    /// The buckets that hold values, ordered by start.
    buckets: Vec<BucketStatistics>,
}

/// Statistics of the values in a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BucketStatistics {
    /// The start of the bucket, a multiple of its length since 1970; of statistics, the start of the range.
    start: Time,
    /// Number of values.
    #[schema(minimum = 1)]
    count: u64,
    /// Arithmetic mean.
    mean: f64,
    /// Smallest value.
    min: f64,
    /// Largest value.
    max: f64,
    /// Standard deviation of the sample; absent for a single value.
    #[serde(skip_serializing_if = "Option::is_none")]
    stddev: Option<f64>,
}

/// Statistics of fields.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatisticsList {
    /// The fields that have numbers in the range, ordered by name.
    fields: Vec<StatisticsOfField>,
}

/// Statistics of a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatisticsOfField {
    /// The field.
    name: String,
    /// Its statistics.
    statistics: BucketStatistics,
}

impl From<Bucket> for BucketStatistics {
    fn from(bucket: Bucket) -> Self {
        Self {
            start: Time(bucket.start),
            count: bucket.count,
            mean: bucket.mean,
            min: bucket.min,
            max: bucket.max,
            stddev: bucket.stddev,
        }
    }
}

/// Reads numbers of a series in buckets.
#[utoipa::path(
    get,
    operation_id = "listBuckets",
    path = "/pipelines/{pipeline}/buckets",
    tag = "rows",
    params(PipelineName, BucketsQuery),
    responses(
        (status = 200, body = BucketsList),
        SeriesProblems,
    ),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
    Query(query): Query<BucketsQuery>,
) -> Result<Json<BucketsList>, Problem> {
    let history = &api.pipeline(&name)?.history;
    let every = units::positive_duration(&query.every).map_err(|accepted| {
        Problem::invalid(format!("every: {:?} isn't {accepted}", query.every))
    })?;
    let (from, to) = (query.from.as_deref(), query.to.as_deref());
    let range = Range::new(&api, query.series, query.field, from, to)?;
    check_series(history, &range.series).await?;
    let fields = history
        .buckets(range.selection(), every)
        .await
        .map_err(unreadable)?
        .into_iter();
    let of_field = |field: FieldBuckets| BucketsOfField {
        name: field.field,
        buckets: field
            .buckets
            .into_iter()
            .map(BucketStatistics::from)
            .collect(),
    };
    Ok(Json(BucketsList {
        fields: fields.map(of_field).collect(),
    }))
}

/// Reads statistics of the numbers of a series in a whole time range.
#[utoipa::path(
    get,
    operation_id = "getStatistics",
    path = "/pipelines/{pipeline}/statistics",
    tag = "rows",
    params(PipelineName, RangeQuery),
    responses(
        (status = 200, body = StatisticsList),
        SeriesProblems,
    ),
)]
pub(crate) async fn statistics(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
    Query(query): Query<RangeQuery>,
) -> Result<Json<StatisticsList>, Problem> {
    let history = &api.pipeline(&name)?.history;
    let range = Range::of(&api, query)?;
    check_series(history, &range.series).await?;
    let fields = history
        .statistics(range.selection())
        .await
        .map_err(unreadable)?
        .into_iter();
    let of_field = |field: FieldStatistics| StatisticsOfField {
        name: field.field,
        statistics: field.statistics.into(),
    };
    Ok(Json(StatisticsList {
        fields: fields.map(of_field).collect(),
    }))
}
