//! Records the statements that a connection runs, asks `SQLite` for their plans, and creates files of earlier
//! versions. Only with the feature `testing`.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "only tests use it, and a test whose setup fails has to fail"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

/// The statements that were run, each once.
pub type Statements = Arc<Mutex<BTreeSet<String>>>;

/// Creates a file with the content that the statements of a dump describe.
pub fn create(path: &Path, dump: &str) {
    Connection::open(path).unwrap().execute_batch(dump).unwrap();
}

/// Adds each statement that the connection runs from now on.
pub fn record(connection: &mut Connection, into: &Statements) {
    let into = Arc::clone(into);
    let record = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            into.lock().unwrap().insert(statement.sql().into_owned());
        }
    };
    connection
        .trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(record))
        .unwrap();
}

/// The steps of a statement's plan: `SCAN row`, or `SEARCH row USING PRIMARY KEY (rig=? AND tick>?)`.
/// Its parameters are bound to 1.
#[must_use]
pub fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut explain = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    for index in 1..=explain.parameter_count() {
        explain.raw_bind_parameter(index, 1).unwrap();
    }
    let steps = explain.raw_query().mapped(|row| row.get(3));
    steps.collect::<rusqlite::Result<_>>().unwrap()
}
