//! The store in one SQLite file, for the one-process deployment.
//!
//! One thread writes and another one reads, each on its own connection, so that a long query doesn't
//! delay writes.

use std::path::Path;
use std::sync::Arc;

use common::clock::Clock;
use model::element::Layout;
use model::row::Row;
use tokio::sync::oneshot;

use crate::{RowsAtFault, Store, WriteError};

mod batch;
mod collect;
mod error;
mod field_type;
mod fields;
mod history;
mod memory;
#[cfg(test)]
mod plans;
mod retention;
mod scan;
mod schema;
mod series;
mod settings;
mod write;
mod writer;

pub use history::SqliteHistory;
pub use settings::{DEFAULT_RETENTION, SqliteSettings};

use rusqlite::Connection;
use schema::STORE;
use sqlite::{OpenError, Stopped, Worker};
use writer::{Task, Writer};

/// Rows in one file. Clones share its threads. Dropping the last handle waits for their current work,
/// ends them and closes the file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    // Dropped first: whoever closes the file last copies the log into it, which a reader can't.
    history: SqliteHistory,
    writer: Arc<Worker<Task>>,
    layout: Layout,
}

impl SqliteStore {
    /// Opens or creates the file, and migrates a file of an older version. A file holds rows of one layout
    /// only. `clock` decides which rows are past their retention.
    pub fn open(
        path: &Path,
        settings: &SqliteSettings,
        layout: Layout,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let connection = STORE.open(path)?;
        check_layout(path, &connection, layout)?;
        let history = SqliteHistory::beside(path)?;
        let sweep = retention::Sweep::new(settings.retention, clock);
        let writer = Writer::new(connection, path, layout, sweep);
        let worker = Worker::start("store.db", move |jobs| writer.run(&jobs));
        let worker = worker.map_err(|error| OpenError::Unusable {
            path: path.to_owned(),
            detail: error.to_string(),
        })?;
        Ok(Self {
            history,
            writer: Arc::new(worker),
            layout,
        })
    }

    /// A reader of the same file.
    #[must_use]
    pub fn history(&self) -> SqliteHistory {
        self.history.clone()
    }

    async fn ask(
        &self,
        task: impl FnOnce(oneshot::Sender<Result<(), WriteError>>) -> Task,
    ) -> Result<(), WriteError> {
        let (answer, answered) = oneshot::channel();
        self.writer.send(task(answer)).await.map_err(stopped)?;
        answered.await.map_err(|_| stopped(Stopped))?
    }
}

impl Store for SqliteStore {
    /// The rows are durable when it returns. Concurrent writes share a transaction.
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        let batch =
            batch::encode(self.layout, rows).map_err(|(index, error)| WriteError::Rejected {
                detail: format!("row {} of {}: {error}", index + 1, rows.len()),
                at_fault: RowsAtFault::Some,
            })?;
        self.ask(|answer| Task::Write { batch, answer }).await
    }

    /// Writes a few bytes to a table of its own, to detect a full disk.
    async fn preflight(&self) -> Result<(), WriteError> {
        self.ask(|answer| Task::Probe { answer }).await
    }
}

/// Fails if the file's series are of another layout.
fn check_layout(path: &Path, connection: &Connection, layout: Layout) -> Result<(), OpenError> {
    let found = match schema::layout(connection) {
        Ok(Some(found)) if found != layout => found,
        // The first write reports a file that can't be read.
        _ => return Ok(()),
    };
    let of = |layout| match layout {
        Layout::Rigs => "rows of the pipeline rigs",
        Layout::Tagged => "rows of a pipeline with other tags than rig_id",
    };
    Err(OpenError::Unusable {
        path: path.to_owned(),
        detail: format!(
            "it holds {}, and {} can't be added: name another directory",
            of(found),
            of(layout)
        ),
    })
}

fn stopped(stopped: Stopped) -> WriteError {
    WriteError::Retry {
        detail: stopped.to_string(),
        after: None,
    }
}
