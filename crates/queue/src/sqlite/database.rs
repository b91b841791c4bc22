//! The file with its writer thread and its reader thread.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use sqlite::{Job, Stopped, Worker};
use tokio::sync::oneshot;

use super::error::classify;
use super::schema::QUEUE;
use super::writer::{self, Call, Write};
use crate::error::{Cause, QueueError};

type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the threads. Dropping the last handle waits for pending calls, ends the threads and closes
/// the file.
#[derive(Debug, Clone)]
pub(super) struct Database {
    // Dropped before the writer: the last connection that closes checkpoints the write-ahead log, which
    // a read-only connection can't.
    reader: Arc<Worker<Read>>,
    /// None for a file that is only read.
    writer: Option<Arc<Worker<Box<dyn Write>>>>,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, QueueError> {
        let connection = QUEUE.open(path)?;
        let mut database = Self::open_read_only(path)?;
        let writer = Worker::start("queue.db", |jobs| writer::serve(connection, &jobs));
        let writer = writer.map_err(|error| QueueError::unavailable(Cause::Other, error))?;
        database.writer = Some(Arc::new(writer));
        Ok(database)
    }

    /// Opens the file for reading only, also while another process writes to it.
    pub(super) fn open_read_only(path: &Path) -> Result<Self, QueueError> {
        let mut connection = QUEUE.open_read_only(path)?;
        let reader = Worker::start("queue.db reads", move |jobs| {
            while let Ok(Job { job, .. }) = jobs.recv() {
                let read: Read = job;
                read(&mut connection);
            }
        });
        let reader = reader.map_err(|error| QueueError::unavailable(Cause::Other, error))?;
        Ok(Self {
            reader: Arc::new(reader),
            writer: None,
        })
    }

    /// Runs `work` in a transaction that is durable when this returns. An error rolls it back.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let Some(writer) = &self.writer else {
            let detail = "the file was opened for reading only";
            return Err(QueueError::unavailable(Cause::ReadOnly, detail));
        };
        let (call, answered) = Call::new(work);
        writer.send(Box::new(call)).await?;
        answered.await.map_err(|_| Stopped)?
    }

    /// Runs `work` in a read transaction that sees all writes that have returned.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Deferred)
                .map_err(|error| classify(&error));
            // Fails if the caller was dropped.
            let _ = answer.send(transaction.and_then(|transaction| work(&transaction)));
        });
        self.reader.send(read).await?;
        answered.await.map_err(|_| Stopped)?
    }
}
