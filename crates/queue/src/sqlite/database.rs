//! The file, the thread that writes to it, and the thread that reads from it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::error::{classify, in_file};
use super::schema;
use super::writer::{self, Call, Job};
use crate::error::{Cause, QueueError};

/// How long to wait for another process that holds the file's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// Calls that wait for a thread; each caller waits for its answer, so this is about callers.
const WAITING: usize = 64;
/// More than the statements that there are.
const STATEMENTS: usize = 64;
/// The log is written back to the file when it has this many pages (of 4 KiB): the busiest pages,
/// those at both ends of the lists, are written back once for many commits.
const LOG_PAGES: u32 = 4_000;
/// What is kept of a log that was longer once, in bytes.
const LOG_BYTES: u32 = 64 << 20;

type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the threads; they end when the last handle is dropped, which waits until they have done
/// what they were asked, and closed the file.
#[derive(Debug, Clone)]
pub(super) struct Database {
    threads: Arc<Threads>,
}

#[derive(Debug)]
struct Threads {
    /// Always there, until the end.
    reader: Option<Worker<Read>>,
    /// None for a file that is only looked at.
    writer: Option<Worker<Box<dyn Job>>>,
}

/// A thread with what it has to do.
struct Worker<J> {
    jobs: mpsc::Sender<J>,
    thread: JoinHandle<()>,
}

impl<J> fmt::Debug for Worker<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl<J> Worker<J> {
    /// Waits until all is done.
    fn end(self) {
        let Self { jobs, thread } = self;
        drop(jobs);
        // After a panic there is nothing more to wait for.
        let _ = thread.join();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The writer last: only who closes the file last, and may write, puts its log in order.
        if let Some(reader) = self.reader.take() {
            reader.end();
        }
        if let Some(writer) = self.writer.take() {
            writer.end();
        }
    }
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, QueueError> {
        let mut connection = Connection::open(path).map_err(|error| classify(&error))?;
        prepare(&connection).map_err(|error| in_file(path, &error))?;
        schema::make_or_migrate(&mut connection, path)?;
        let reader = Some(reader(path)?);
        let (jobs, waiting) = mpsc::channel(WAITING);
        let thread = spawn("queue.db", move || writer::serve(connection, waiting))?;
        let writer = Some(Worker { jobs, thread });
        let threads = Arc::new(Threads { reader, writer });
        Ok(Self { threads })
    }

    /// As it is, beside a process that writes to it.
    pub(super) fn open_read_only(path: &Path) -> Result<Self, QueueError> {
        let reader = Some(reader(path)?);
        let writer = None;
        let threads = Arc::new(Threads { reader, writer });
        Ok(Self { threads })
    }

    /// Runs `work` in a transaction that is durable when this returns; an error undoes all of it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let Some(writer) = &self.threads.writer else {
            let opened = "the file was opened to be looked at";
            return Err(QueueError::unavailable(Cause::ReadOnly, opened));
        };
        let (call, answered) = Call::new(work);
        writer.jobs.send(Box::new(call)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Runs `work` in a transaction that reads one consistent state, with all writes in it that have
    /// returned by now.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Deferred)
                .map_err(|error| classify(&error));
            // A caller that went away doesn't want its answer.
            let _ = answer.send(transaction.and_then(|transaction| work(&transaction)));
        });
        let reader = self.threads.reader.as_ref().ok_or_else(gone)?;
        reader.jobs.send(read).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// The thread that reads.
fn reader(path: &Path) -> Result<Worker<Read>, QueueError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    let mut connection = opened.map_err(|error| in_file(path, &error))?;
    connection
        .busy_timeout(BUSY_LIMIT)
        .map_err(|error| classify(&error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    schema::check(&connection, path)?;
    let (jobs, mut waiting) = mpsc::channel::<Read>(WAITING);
    let thread = spawn("queue.db read", move || {
        while let Some(read) = waiting.blocking_recv() {
            read(&mut connection);
        }
    })?;
    Ok(Worker { jobs, thread })
}

fn gone() -> QueueError {
    QueueError::unavailable(Cause::Unreachable, "the database thread has ended")
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, QueueError> {
    let thread = std::thread::Builder::new().name(name.into());
    let spawned = thread.spawn(work);
    spawned.map_err(|error| QueueError::unavailable(Cause::Other, error))
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_LIMIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Every commit reaches the disk before it returns; on macOS that takes a word of its own.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)
}
