//! The events of one reader.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use crate::problem::Problem;

/// Data of the event `problem`: a problem document. That of `figures` comes in their place, again and again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveProblem<'a> {
    /// Which events don't come meanwhile: `rows` or `figures`.
    #[schema(example = "rows")]
    of: &'static str,
    /// What is wrong.
    #[serde(flatten)]
    problem: &'a Problem,
}

/// Data of the event `recovered`: a problem is over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recovered {
    /// Which events come again: `rows` or `figures`.
    #[schema(example = "rows")]
    of: &'static str,
}

/// An event with its data as JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its data.
    pub(crate) data: String,
}

impl Event {
    fn new(name: &'static str, data: &impl Serialize) -> Self {
        Self {
            name,
            // Serializing strings and numbers can't fail.
            data: serde_json::to_string(data).unwrap_or_default(),
        }
    }
}

/// What a reader has been sent.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// The number of the last state.
    seen: Option<u64>,
    /// Whether rows were sent in that state or before.
    has_rows: bool,
    rows_problem: Option<Problem>,
    figures_problem: Option<Problem>,
}

impl Events {
    /// The events that lead from the last state that was sent to this one.
    pub(crate) fn next(&mut self, state: &Arc<State>) -> Vec<Event> {
        let mut events = Vec::new();
        let problem = state.rows_problem.as_ref();
        change(&mut self.rows_problem, problem, "rows", &mut events);
        // If the store could never be read, there are no rows that could be shown as all.
        let may_send = self.has_rows || problem.is_none();
        let seen = self.seen.filter(|_| self.has_rows);
        if may_send && let Some(rows) = state.rows.since(seen, state.time) {
            events.push(Event::new("rows", &rows));
            self.has_rows = true;
        }
        match &state.figures {
            Ok(figures) => {
                change(&mut self.figures_problem, None, "figures", &mut events);
                events.push(Event::new("figures", figures));
            }
            // Each time, so that a client hears something of a connection that is well.
            Err(problem) => {
                self.figures_problem = None;
                change(
                    &mut self.figures_problem,
                    Some(problem),
                    "figures",
                    &mut events,
                );
            }
        }
        self.seen = Some(state.number);
        events
    }
}

/// Tells of a problem that began or ended.
fn change(
    sent: &mut Option<Problem>,
    now: Option<&Problem>,
    of: &'static str,
    events: &mut Vec<Event>,
) {
    if sent.as_ref() == now {
        return;
    }
    events.push(match now {
        Some(problem) => Event::new("problem", &LiveProblem { of, problem }),
        None => Event::new("recovered", &Recovered { of }),
    });
    *sent = now.cloned();
}
