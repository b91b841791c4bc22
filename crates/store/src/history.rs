//! Reading rows from a store.

use std::time::Duration;

use model::row::Row;
use model::sample::{Tags, Value};
use model::time::Timestamp;

mod pages;
mod tallies;
mod tally;

pub use pages::Order;
pub(crate) use pages::Pages;
pub(crate) use tallies::Tallies;
pub(crate) use tally::{Grid, Tally};

/// Most rows of a page. A larger limit is reduced to this.
pub const MAX_PAGE: usize = 10_000;
/// Most values of a page. A page of wide rows ends before its limit.
pub const MAX_PAGE_VALUES: usize = 200_000;
/// Most bytes of strings of a page. A page with longer ones ends before its limit, after at least one row.
pub const MAX_PAGE_TEXT: usize = 8 << 20;
/// Most buckets of a time range, empty ones included.
pub const MAX_BUCKETS: u64 = 100_000;
/// Most buckets of one result, over all its fields.
pub const MAX_RESULT_BUCKETS: usize = 1_000_000;

/// A store that rows can be read from.
///
/// A series is named by its key, see [`Layout::series_key`](model::Layout::series_key). An unknown series or
/// field gives an empty result, not an error. Concurrent writes and deletions may or
/// may not be visible. A dropped call ends soon.
pub trait History: Send + Sync {
    /// All series that have rows, ordered by key.
    fn series(&self) -> impl Future<Output = Result<Vec<SeriesSpan>, ReadError>> + Send;

    /// The names of the fields that have values, of one series or of all, in order.
    fn fields(
        &self,
        series: Option<&str>,
    ) -> impl Future<Output = Result<Vec<String>, ReadError>> + Send;

    /// The newest value of each field of a series, ordered by the fields' names.
    fn latest(&self, series: &str) -> impl Future<Output = Result<Vec<Latest>, ReadError>> + Send;

    /// The newest value of each field of every series that has rows, ordered by key, then by the fields' names.
    fn latest_of_all(&self) -> impl Future<Output = Result<Vec<SeriesLatest>, ReadError>> + Send;

    /// Rows ordered by tick, at most `limit` and at most [`MAX_PAGE`]. A row holds its values of the
    /// selected fields, ordered by name; rows without such values are left out.
    /// [`ReadError::BadRequest`] if `limit` is 0.
    fn range(
        &self,
        of: Selection<'_>,
        limit: usize,
    ) -> impl Future<Output = Result<Page, ReadError>> + Send;

    /// Like [`History::range`], but the newest rows, the newest first. The page's `next` is the `to` of the
    /// next page.
    fn newest(
        &self,
        of: Selection<'_>,
        limit: usize,
    ) -> impl Future<Output = Result<Page, ReadError>> + Send;

    /// Statistics of numbers in buckets, which start at multiples of `bucket` since 1970. Fields of booleans
    /// or strings, empty buckets, and fields without buckets are left out. The first and the last bucket hold only values of the
    /// time range. [`ReadError::BadRequest`] if `bucket` is zero, or if there would be more than
    /// [`MAX_BUCKETS`] or [`MAX_RESULT_BUCKETS`].
    fn buckets(
        &self,
        of: Selection<'_>,
        bucket: Duration,
    ) -> impl Future<Output = Result<Vec<FieldBuckets>, ReadError>> + Send;

    /// Statistics of the numbers of a whole time range, one for each field that has values in it, ordered by the
    /// fields' names. The bucket's start is the range's. Fields of booleans or strings are left out.
    fn statistics(
        &self,
        of: Selection<'_>,
    ) -> impl Future<Output = Result<Vec<FieldStatistics>, ReadError>> + Send;
}

/// The rows to read: of a series, some fields and a time range.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// The key of the series.
    pub series: &'a str,
    /// Names of fields; empty for all.
    pub fields: &'a [String],
    /// The first tick.
    pub from: Timestamp,
    /// The first tick after the time range.
    pub to: Timestamp,
}

/// A series with the time range of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesSpan {
    /// The key: a rig's name, or the tags as a JSON object.
    pub key: String,
    /// The tags.
    pub tags: Tags<'static>,
    /// The tick of its oldest row.
    pub first: Timestamp,
    /// The tick of its newest row.
    pub last: Timestamp,
}

/// The newest value of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// The field.
    pub field: String,
    /// The tick of the value's row.
    pub tick: Timestamp,
    /// The value.
    pub value: Value,
}

/// The newest values of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesLatest {
    /// The key.
    pub key: String,
    /// The newest value of each field, ordered by the fields' names.
    pub values: Vec<Latest>,
}

/// Statistics of a field's values in a time range.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldStatistics {
    /// The field.
    pub field: String,
    /// The statistics.
    pub statistics: Bucket,
}

impl FieldStatistics {
    /// The statistics of fields over a [`Grid::whole`], which has one bucket.
    pub(crate) fn of_whole(fields: Vec<FieldBuckets>) -> Vec<Self> {
        let statistics = fields
            .into_iter()
            .filter_map(|FieldBuckets { field, buckets }| {
                let statistics = buckets.into_iter().next()?;
                Some(Self { field, statistics })
            });
        statistics.collect()
    }
}

/// A page of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows, ordered by tick: upwards, or downwards from [`History::newest`].
    pub rows: Vec<Row<'static>>,
    /// The `from` of the next page (the `to`, of [`History::newest`]), if there are more rows.
    pub next: Option<Timestamp>,
}

/// A field with its buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldBuckets {
    /// The field.
    pub field: String,
    /// The buckets, ordered by start.
    pub buckets: Vec<Bucket>,
}

/// Statistics of a field's values in a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The start of the bucket.
    pub start: Timestamp,
    /// Number of values, at least 1.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Sample standard deviation (divisor n - 1). `None` for a single value, or if it is too large for a
    /// double.
    pub stddev: Option<f64>,
}

/// Why a read failed, named by what to do next. Messages are for operators and contain no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Try again later: the store is unavailable.
    #[error("{detail}")]
    Unavailable {
        /// What happened.
        detail: String,
    },
    /// The request is invalid.
    #[error("{detail}")]
    BadRequest {
        /// What is accepted.
        detail: String,
    },
    /// An operator has to change the store or its settings.
    #[error("{detail}")]
    Denied {
        /// What to check, and the store's message.
        detail: String,
    },
}
