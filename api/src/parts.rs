//! What the API reads from.

use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::health::Health;
use common::pipelines::Pipeline;
use model::Timestamp;
use model::dead_letter::{DeadLetter, Rejection};
use queue::{DeadLetterEntry, Lists, Replay};
#[cfg(feature = "mongodb")]
use store::MongoHistory;
#[cfg(feature = "postgres")]
use store::PostgresHistory;
use store::history::{
    FieldBuckets, FieldStatistics, Latest, Page, Selection, SeriesLatest, SeriesSpan,
};
use store::{History, InfluxHistory, LatestStore, ReadError, SqliteHistory};
use transport::Inbox;

use crate::alerts::AlertBoard;
use crate::live::Live;
use crate::problem::Problem;
use crate::staleness::Staleness;

/// The pipelines that are served, and the state of their process. Clones share it.
#[derive(Debug, Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pipelines: Vec<ServedPipeline>,
    health: Health,
    clock: Clock,
    live: Live,
    staleness: Staleness,
}

/// A pipeline with what is read of it.
#[derive(Debug, Clone)]
pub struct ServedPipeline {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its lists.
    pub lists: Lists,
    /// Its store.
    pub history: PipelineHistory,
    /// Its store of the newest rows, if it has one.
    pub latest: Option<LatestStore>,
    /// What its stages would make of inputs.
    pub stages: Arc<dyn StageChecks>,
    /// Its alerts.
    pub alerts: AlertBoard,
    /// Where its ingester takes messages from, if it is in this process.
    pub inbox: Option<Inbox>,
}

/// Validates inputs, as the stages of their pipeline do.
pub trait StageChecks: std::fmt::Debug + Send + Sync {
    /// The replay of a dead letter, whose content is given, too, or the reason why it can't be replayed.
    fn validate(
        &self,
        letter: DeadLetterEntry,
        content: &DeadLetter,
        now: Timestamp,
    ) -> Result<Replay, String>;

    /// Why the ingester would reject a message, or a part of it, that arrives at this time.
    fn check(&self, topic: &str, payload: &[u8], arrived: Timestamp) -> Option<Rejection>;
}

/// Where a pipeline's rows are read from.
#[derive(Debug, Clone)]
pub enum PipelineHistory {
    /// A file.
    Sqlite(SqliteHistory),
    /// A measurement of an `InfluxDB`.
    Influx(InfluxHistory),
    /// A collection of MongoDB.
    #[cfg(feature = "mongodb")]
    Mongodb(MongoHistory),
    /// A table of PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(PostgresHistory),
    /// None of its stores can be read, for this reason. Its lists, dead letters and health are served all the same.
    Unreadable(Arc<str>),
}

impl PipelineHistory {
    /// The kind of store.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Influx(_) => "influx",
            #[cfg(feature = "mongodb")]
            Self::Mongodb(_) => "mongodb",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "postgres",
            Self::Unreadable(_) => "none",
        }
    }
}

/// Calls a method of the store's own history.
macro_rules! ask {
    ($history:ident.$method:ident($($argument:expr),*)) => {
        match $history {
            Self::Sqlite(history) => history.$method($($argument),*).await,
            Self::Influx(history) => history.$method($($argument),*).await,
            #[cfg(feature = "mongodb")]
            Self::Mongodb(history) => history.$method($($argument),*).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(history) => history.$method($($argument),*).await,
            Self::Unreadable(why) => Err(ReadError::BadRequest {
                detail: why.to_string(),
            }),
        }
    };
}

impl History for PipelineHistory {
    async fn series(&self) -> Result<Vec<SeriesSpan>, ReadError> {
        ask!(self.series())
    }

    async fn fields(&self, series: Option<&str>) -> Result<Vec<String>, ReadError> {
        ask!(self.fields(series))
    }

    async fn latest(&self, series: &str) -> Result<Vec<Latest>, ReadError> {
        ask!(self.latest(series))
    }

    async fn latest_of_all(&self) -> Result<Vec<SeriesLatest>, ReadError> {
        ask!(self.latest_of_all())
    }

    async fn range(&self, of: Selection<'_>, limit: usize) -> Result<Page, ReadError> {
        ask!(self.range(of, limit))
    }

    async fn newest(&self, of: Selection<'_>, limit: usize) -> Result<Page, ReadError> {
        ask!(self.newest(of, limit))
    }

    async fn buckets(
        &self,
        of: Selection<'_>,
        bucket: Duration,
    ) -> Result<Vec<FieldBuckets>, ReadError> {
        ask!(self.buckets(of, bucket))
    }

    async fn statistics(&self, of: Selection<'_>) -> Result<Vec<FieldStatistics>, ReadError> {
        ask!(self.statistics(of))
    }
}

impl Api {
    /// Serves these pipelines.
    #[must_use]
    pub fn new(pipelines: Vec<ServedPipeline>, health: Health, clock: Clock) -> Self {
        let inner = Inner {
            pipelines,
            health,
            clock,
            live: Live::new(),
            staleness: Staleness::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(crate) fn pipelines(&self) -> &[ServedPipeline] {
        &self.inner.pipelines
    }

    pub(crate) fn health(&self) -> &Health {
        &self.inner.health
    }

    pub(crate) fn live(&self) -> &Live {
        &self.inner.live
    }

    pub(crate) fn staleness(&self) -> &Staleness {
        &self.inner.staleness
    }

    pub(crate) fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// The pipeline of this name.
    pub(crate) fn pipeline(&self, name: &str) -> Result<&ServedPipeline, Problem> {
        let pipelines = &self.inner.pipelines;
        let found = pipelines.iter().find(|part| part.pipeline.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = pipelines.iter().map(|part| part.pipeline.name()).collect();
            Problem::not_found(format!(
                "there is no pipeline {name:?}; there are: {}",
                names.join(", ")
            ))
        })
    }
}
