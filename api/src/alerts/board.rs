//! What is shown of the alerts of a pipeline.

use std::sync::{Arc, PoisonError, RwLock};

use common::pipelines::Pipeline;
use model::Timestamp;

use super::book::Book;
use super::event::Event;
use super::machine::{AlertKind, AlertState};
use super::rule::Rule;

/// Events that are shown.
const SHOWN_EVENTS: usize = 100;

/// What is shown of the alerts of a pipeline: the task that evaluates them writes it, the API reads it. Clones
/// share it.
#[derive(Debug, Clone, Default)]
pub struct AlertBoard {
    pub(crate) rules: Arc<[Rule]>,
    shown: Arc<RwLock<Arc<Shown>>>,
}

/// The alerts as they were last committed.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Ordered by rule and series.
    pub(crate) states: Vec<ShownState>,
    /// The newest first.
    pub(crate) events: Vec<Event>,
}

/// The alert of a series.
#[derive(Debug)]
pub(crate) struct ShownState {
    pub(crate) alert: String,
    pub(crate) series: String,
    pub(crate) state: AlertState,
    pub(crate) kind: AlertKind,
    pub(crate) value: Option<f64>,
    pub(crate) since: Timestamp,
}

impl AlertBoard {
    /// For a pipeline, whose alerts aren't evaluated yet.
    #[must_use]
    pub fn of(pipeline: &Pipeline) -> Self {
        let rules = pipeline.file().map(Rule::all);
        Self {
            rules: rules.unwrap_or_default().into(),
            shown: Arc::default(),
        }
    }

    /// Whether there are no alerts to evaluate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn show(&self, book: &Book) {
        let states = book.machines().map(|(rule, series, machine)| ShownState {
            alert: rule.name.clone(),
            series: series.to_owned(),
            state: machine.state,
            kind: machine.kind,
            value: machine.value,
            since: machine.since,
        });
        let shown = Shown {
            states: states.collect(),
            events: book.events().take(SHOWN_EVENTS).cloned().collect(),
        };
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
    }

    pub(crate) fn shown(&self) -> Arc<Shown> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&shown)
    }
}
