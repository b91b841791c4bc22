//! The file and the one thread that uses it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Cause, QueueError};

/// How long to wait for another process that holds the file's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// Calls that wait for the thread; each caller waits for its answer, so this is about callers.
const WAITING: usize = 64;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the thread; it ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(super) struct Database {
    jobs: Arc<mpsc::Sender<Job>>,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, QueueError> {
        let mut connection = prepare(path).map_err(|error| classify(&error))?;
        let (jobs, mut waiting) = mpsc::channel::<Job>(WAITING);
        let thread = std::thread::Builder::new().name("queue.db".into());
        let spawned = thread.spawn(move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut connection);
            }
        });
        spawned.map_err(|error| QueueError::unavailable(Cause::Other, error))?;
        Ok(Self {
            jobs: Arc::new(jobs),
        })
    }

    /// Runs `work` in a transaction that is durable when this returns; an error undoes all of it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.call(TransactionBehavior::Immediate, work).await
    }

    /// Runs `work` in a transaction that reads one consistent state.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.call(TransactionBehavior::Deferred, work).await
    }

    async fn call<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A caller that went away doesn't want its answer.
            let _ = answer.send(transact(connection, behavior, work));
        });
        let gone = || QueueError::unavailable(Cause::Unreachable, "the database thread has ended");
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn prepare(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_LIMIT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Every commit reaches the disk before it returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(include_str!("schema.sql"))?;
    Ok(connection)
}

fn transact<T>(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, QueueError>,
) -> Result<T, QueueError> {
    let transaction = connection
        .transaction_with_behavior(behavior)
        .map_err(|e| classify(&e))?;
    let value = work(&transaction)?;
    // A commit that fails may still have reached the disk.
    transaction
        .commit()
        .map_err(|error| match classify(&error) {
            QueueError::Unavailable { detail, .. } => QueueError::Unknown(detail),
            other => other,
        })?;
    Ok(value)
}

/// What an error of SQLite means.
pub(super) fn classify(error: &rusqlite::Error) -> QueueError {
    use rusqlite::Error;
    let said = error.to_string();
    match error {
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                QueueError::unavailable(Cause::Busy, said)
            }
            ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => {
                QueueError::unavailable(Cause::CannotPersist, said)
            }
            ErrorCode::ReadOnly => QueueError::unavailable(Cause::ReadOnly, said),
            ErrorCode::OutOfMemory => QueueError::unavailable(Cause::OutOfMemory, said),
            ErrorCode::PermissionDenied => QueueError::Denied(said),
            // Tables that aren't ours: no such column, not a table, not a database.
            ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::NotADatabase => {
                QueueError::WrongType(said)
            }
            _ => QueueError::unavailable(Cause::Other, said),
        },
        Error::SqlInputError { .. }
        | Error::InvalidColumnType(..)
        | Error::FromSqlConversionFailure(..) => QueueError::WrongType(said),
        _ => QueueError::unavailable(Cause::Other, said),
    }
}
