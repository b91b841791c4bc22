//! The writer thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use model::element::Layout;
use rusqlite::Connection;
use sqlite::{Job, roll_back};
use tokio::sync::oneshot;

use super::batch::Batch;
use super::error::{StatementError, is_full};
use super::memory::Memory;
use super::retention::Sweep;
use super::write::{Refusal, store};
use crate::{RowsAtFault, WriteError};

/// A transaction with this many rows takes no further writes.
const GROUP_ROWS: usize = 20_000;
/// Size of a preflight write, in bytes: about as much as a batch of rows needs.
const PROBE: i64 = 64 << 10;

type Answer = oneshot::Sender<Result<(), WriteError>>;

/// A task of the writer thread.
#[derive(Debug)]
pub(super) enum Task {
    /// Store rows.
    Write { batch: Batch, answer: Answer },
    /// Check whether rows could be stored.
    Probe { answer: Answer },
}

/// The state of the writer thread.
pub(super) struct Writer {
    connection: Connection,
    path: PathBuf,
    memory: Memory,
    sweep: Sweep,
}

/// Tasks that share a transaction.
#[derive(Default)]
struct Group {
    writes: Vec<(Batch, Answer)>,
    probes: Vec<Answer>,
    rows: usize,
}

impl Group {
    fn add(&mut self, task: Task) {
        match task {
            // Nobody waits for it any more; those who went away write again.
            Task::Write { answer, .. } | Task::Probe { answer } if answer.is_closed() => {}
            Task::Write { batch, answer } => {
                self.rows += batch.rows.len();
                self.writes.push((batch, answer));
            }
            Task::Probe { answer } => self.probes.push(answer),
        }
    }
}

impl Writer {
    pub(super) fn new(connection: Connection, path: &Path, layout: Layout, sweep: Sweep) -> Self {
        Self {
            connection,
            path: path.to_owned(),
            memory: Memory::new(layout),
            sweep,
        }
    }

    /// Runs until the last handle is dropped.
    pub(super) fn run(mut self, jobs: &Receiver<Job<Task>>) {
        loop {
            match jobs.recv_timeout(self.sweep.wait()) {
                Ok(first) => {
                    let mut group = Group::default();
                    group.add(first.job);
                    while group.rows < GROUP_ROWS
                        && let Ok(next) = jobs.try_recv()
                    {
                        group.add(next.job);
                    }
                    self.serve(group);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // One step at most: writes that came meanwhile are next.
            self.sweep
                .step_if_due(&self.connection, &self.path, &mut self.memory);
        }
    }

    fn serve(&mut self, group: Group) {
        self.write(group.writes);
        if group.probes.is_empty() {
            return;
        }
        let probed = self.probe().or_else(|error| {
            let again = self.checkpoint_if_full(&error);
            let error = if again {
                self.probe().err()
            } else {
                Some(error)
            };
            error.map_or(Ok(()), |error| Err(self.failed(&error).into()))
        });
        for answer in group.probes {
            // A caller that went away doesn't want its answer; so it is below.
            let _ = answer.send(probed.clone());
        }
    }

    /// Stores batches in one transaction. If a batch fails, which is rare, it rolls back and stores the
    /// others from the start: a savepoint for each batch would copy every page.
    fn write(&mut self, mut writes: Vec<(Batch, Answer)>) {
        let mut made_room = false;
        while !writes.is_empty() {
            match self.transact(&writes) {
                Ok(()) => {
                    let rows: usize = writes.iter().map(|(batch, _)| batch.rows.len()).sum();
                    self.sweep.written(rows);
                    for (_, answer) in writes.drain(..) {
                        let _ = answer.send(Ok(()));
                    }
                }
                Err((index, Refusal::Rejected(detail))) => {
                    self.roll_back();
                    let (_, answer) = writes.remove(index);
                    // A row is rejected for its content, for a field of another type, or because the file
                    // has too many fields.
                    let _ = answer.send(Err(WriteError::Rejected {
                        detail,
                        at_fault: RowsAtFault::Some,
                    }));
                }
                Err((_, Refusal::Failed(error))) => {
                    if !made_room && self.checkpoint_if_full(&error) {
                        made_room = true;
                        continue;
                    }
                    let fault: WriteError = self.failed(&error).into();
                    for (_, answer) in writes.drain(..) {
                        let _ = answer.send(Err(fault.clone()));
                    }
                }
            }
        }
    }

    /// Returns the index of the failed batch with its error.
    fn transact(&mut self, writes: &[(Batch, Answer)]) -> Result<(), (usize, Refusal)> {
        let failed = |error: rusqlite::Error| (0, Refusal::Failed(error));
        let connection = &self.connection;
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(failed)?;
        self.memory.refresh(connection).map_err(failed)?;
        for (index, (batch, _)) in writes.iter().enumerate() {
            store(connection, &mut self.memory, batch).map_err(|refusal| (index, refusal))?;
        }
        connection.execute_batch("COMMIT").map_err(failed)
    }

    /// Writes random bytes, because SQLite doesn't write unchanged pages.
    fn probe(&self) -> rusqlite::Result<()> {
        let mut write = self.connection.prepare_cached(
            "INSERT INTO probe VALUES (1, randomblob(?1))
             ON CONFLICT DO UPDATE SET filler = excluded.filler",
        )?;
        write.execute([PROBE])?;
        Ok(())
    }

    fn failed(&mut self, error: &rusqlite::Error) -> StatementError {
        self.roll_back();
        StatementError::new(&self.path, error)
    }

    /// After a full disk: checkpoints the write-ahead log into the file, which may have free pages, so
    /// that the log can be reused. Returns whether to try again.
    fn checkpoint_if_full(&mut self, error: &rusqlite::Error) -> bool {
        if !is_full(error) {
            return false;
        }
        self.roll_back();
        let copied = self
            .connection
            .query_row("PRAGMA wal_checkpoint", [], |row| {
                Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
            });
        copied.unwrap_or(false)
    }

    fn roll_back(&mut self) {
        roll_back(&self.connection);
        self.memory.clear();
    }
}
