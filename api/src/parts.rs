//! What the API reads from.

use std::sync::Arc;

use common::clock::Clock;
use common::health::Health;
use common::pipelines::Pipeline;
use model::Timestamp;
use model::dead_letter::DeadLetter;
use queue::{DeadLetterEntry, Lists, Replay};
use store::SqliteHistory;

use crate::alerts::AlertBoard;
use crate::problem::Problem;

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
    /// How its dead letters are validated before they are replayed.
    pub revalidate: Arc<dyn Revalidate>,
    /// Its alerts.
    pub alerts: AlertBoard,
}

/// Validates dead letters again, as the stages of their pipeline do.
pub trait Revalidate: std::fmt::Debug + Send + Sync {
    /// The replay of a dead letter, whose content is given, too, or the reason why it can't be replayed.
    fn validate(
        &self,
        letter: DeadLetterEntry,
        content: &DeadLetter,
        now: Timestamp,
    ) -> Result<Replay, String>;
}

/// Where a pipeline's rows are read from.
#[derive(Debug, Clone)]
pub enum PipelineHistory {
    /// A file.
    Sqlite(SqliteHistory),
    /// A store that the API can't read; its name.
    Unreadable(&'static str),
}

impl PipelineHistory {
    /// The history, or the problem that it can't be read.
    pub(crate) fn get(&self) -> Result<&SqliteHistory, Problem> {
        match self {
            Self::Sqlite(history) => Ok(history),
            Self::Unreadable(store) => Err(Problem::not_implemented(format!(
                "rows in {store} can't be read by this API: use the store's own tools"
            ))),
        }
    }

    /// The kind of store.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Unreadable(store) => store,
        }
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
