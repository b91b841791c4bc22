//! Alerts: what pipeline files want to be reported of their rows.
//!
//! `rule` and `machine` decide what is reported, `book` keeps the alerts of all series with what the queue has of
//! them, `evaluate` reads new rows, `run` does both every second under a lease, and `webhook` posts the events.

mod board;
mod book;
mod evaluate;
mod event;
mod machine;
mod rule;
mod run;
mod webhook;

pub use self::board::AlertBoard;
pub(crate) use self::machine::{AlertKind, AlertState};
pub(crate) use self::rule::usual_delay;
pub use self::run::{AlertWork, run};
