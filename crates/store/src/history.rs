//! Reading back what a store keeps.

use std::time::Duration;

use model::row::Row;
use model::time::Timestamp;

mod tally;

pub(crate) use tally::{Grid, Tally};

/// Most rows of a page; a larger limit means this one.
pub const MAX_PAGE: usize = 10_000;
/// Most values of a page: one of wide rows ends before its limit.
pub const MAX_PAGE_VALUES: usize = 200_000;
/// Most buckets that a span may be cut into, empty ones included.
pub const MAX_BUCKETS: u64 = 100_000;
/// Most buckets of one answer, those of all its sensors together.
pub const MAX_ANSWER: usize = 1_000_000;

/// Something that rows can be read from.
///
/// A rig or a sensor that the store doesn't know is an empty answer, not an error. What is being
/// written or deleted meanwhile is seen or not. Dropping a call before it has returned ends it
/// soon.
pub trait History: Send + Sync {
    /// Every rig that has rows, in order of name.
    fn rigs(&self) -> impl Future<Output = Result<Vec<RigSpan>, ReadError>> + Send;

    /// The names of the sensors that have a value, of one rig or of any, in order.
    fn sensors(
        &self,
        rig: Option<&str>,
    ) -> impl Future<Output = Result<Vec<String>, ReadError>> + Send;

    /// Each sensor's newest value of one rig, in order of the sensors' names.
    fn latest(&self, rig: &str) -> impl Future<Output = Result<Vec<Latest>, ReadError>> + Send;

    /// Rows in order of tick, at most `limit` and [`MAX_PAGE`] of them. A row has the asked
    /// sensors that it has values of, in order of name; rows that have none are left out.
    /// [`ReadError::BadRequest`] if `limit` is 0.
    fn range(
        &self,
        of: Selection<'_>,
        limit: usize,
    ) -> impl Future<Output = Result<Page, ReadError>> + Send;

    /// Values in buckets, which start at multiples of `bucket` since 1970; those without values
    /// are left out, and so are sensors without buckets. The first and the last bucket hold only
    /// what is in the span. [`ReadError::BadRequest`] if `bucket` is zero, or if there would be
    /// more than [`MAX_BUCKETS`] or [`MAX_ANSWER`].
    fn buckets(
        &self,
        of: Selection<'_>,
        bucket: Duration,
    ) -> impl Future<Output = Result<Vec<Series>, ReadError>> + Send;
}

/// What to read of a rig.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// The rig.
    pub rig: &'a str,
    /// Names of sensors; none at all means all of them.
    pub sensors: &'a [String],
    /// The first tick.
    pub from: Timestamp,
    /// The tick to end before.
    pub to: Timestamp,
}

/// A rig and the time that it has rows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RigSpan {
    /// The rig.
    pub name: String,
    /// The tick of its oldest row.
    pub first: Timestamp,
    /// The tick of its newest row.
    pub last: Timestamp,
}

/// The newest value of a sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// The sensor.
    pub sensor: String,
    /// When.
    pub tick: Timestamp,
    /// The value.
    pub value: f64,
}

/// Some of the rows that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// In order of tick.
    pub rows: Vec<Row<'static>>,
    /// If there are more: the `from` of the next page.
    pub next: Option<Timestamp>,
}

/// A sensor's buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The sensor.
    pub sensor: String,
    /// In order of start.
    pub buckets: Vec<Bucket>,
}

/// What the values of a sensor in a span of time come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Where the bucket starts, a multiple of its length since 1970.
    pub start: Timestamp,
    /// How many values, at least 1.
    pub count: u64,
    /// Their arithmetic mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The standard deviation of a sample (by n - 1): none of a single value, nor where it is too
    /// large for a double.
    pub stddev: Option<f64>,
}

/// Why there is no answer, named by what to do next. The details are for people and hold no
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Ask again later: the store is away, busy or ill.
    #[error("{detail}")]
    Unavailable {
        /// What happened.
        detail: String,
    },
    /// Ask for something else.
    #[error("{detail}")]
    BadRequest {
        /// What is accepted.
        detail: String,
    },
    /// A person has to look after the store or its settings.
    #[error("{detail}")]
    Denied {
        /// What to look at, and what the store said.
        detail: String,
    },
}
