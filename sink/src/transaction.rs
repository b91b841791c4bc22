//! The store that takes each batch in a transaction, after all other stores have it.

use std::time::Duration;

use common::faults::{self, Point};
use common::health::Dependency;
use queue::Queue;
use queue::consume::Batch;
use store::{TransactionalStore, WriteError};

use self::note::CommitNote;
use crate::batch::DecodedBatch;
use crate::refusals::Refusals;
use crate::target::Contact;
use crate::write::{Unwritten, unwritten};

pub(crate) mod note;

/// A store with transactions, whose notes tell whether a batch was written.
///
/// After a lease is acquired, the store is opened: it ends the transactions of earlier holders, so that none of them can
/// write any more, and reads the note of the last one. Only then the list is peeked at. If the note has the number of
/// the list's next commit, the batch was written and not taken off the list yet.
pub(crate) struct TransactionTarget<T, Q> {
    pub(crate) name: String,
    store: T,
    queue: Q,
    contact: Contact,
    /// What is known since the store was opened under this lease.
    opened: Option<Opened>,
}

struct Opened {
    instance: String,
    last: Option<CommitNote>,
}

/// What a batch needs.
pub(crate) enum Readiness {
    /// It has to be written.
    Unwritten,
    /// The store was opened after the batch was peeked at: peek again.
    Outdated,
    /// These elements were written by a transaction that ended before it was taken off the list.
    Written(CommitNote),
}

impl<T: TransactionalStore, Q: Queue> TransactionTarget<T, Q> {
    pub(crate) fn new(name: String, store: T, queue: Q, up: Dependency) -> Self {
        Self {
            name,
            store,
            queue,
            contact: Contact::new(up),
            opened: None,
        }
    }

    /// Forgets what is known under an earlier lease.
    pub(crate) fn forget(&mut self) {
        self.opened = None;
    }

    /// Tells what the batch needs. After an error, which is reported here, returns how long to wait.
    pub(crate) async fn prepare(&mut self, batch: &Batch) -> Result<Readiness, Duration> {
        let is_open = self.store.is_open();
        let Some(opened) = self.opened.as_mut().filter(|_| is_open) else {
            self.open().await?;
            return Ok(Readiness::Outdated);
        };
        let number = batch.peek.number;
        // Each note is looked at once: later transactions of this writer have numbers of their own.
        match opened.last.take() {
            Some(last) if last.instance == opened.instance && last.number == number => {
                Ok(Readiness::Written(last))
            }
            Some(last) => {
                last.report(&opened.instance, number);
                Ok(Readiness::Unwritten)
            }
            None => Ok(Readiness::Unwritten),
        }
    }

    /// Keeps a note for the next batch, because this one has too few elements.
    pub(crate) fn keep(&mut self, note: CommitNote) {
        if let Some(opened) = &mut self.opened {
            opened.last = Some(note);
        }
    }

    async fn open(&mut self) -> Result<(), Duration> {
        self.opened = None;
        let note = self.store.open().await;
        let note = note.map_err(|error| self.failed(error))?;
        let last = note.and_then(|note| CommitNote::decode(&note));
        let snapshot = self.queue.snapshot().await.map_err(|error| {
            let detail = error.to_string();
            self.failed(WriteError::Retry {
                detail,
                after: None,
            })
        })?;
        self.contact.reached();
        self.opened = Some(Opened {
            instance: snapshot.instance,
            last,
        });
        Ok(())
    }

    /// Writes the rows of a batch that this store is for, except those that it refuses, which are added to `refusals`.
    /// After an error, which is reported here, returns how long to wait.
    pub(crate) async fn write(
        &mut self,
        decoded: &DecodedBatch<'_>,
        batch: &Batch,
        refusals: &mut Refusals,
    ) -> Result<(), Duration> {
        let own = decoded.rows_of_store(&self.name, 0);
        let (records, refused) = self.store.encode(&own.rows);
        for (index, detail) in &refused {
            refusals.add(own.places[*index], &self.name, detail);
        }
        if refused.len() == own.rows.len() {
            return Ok(());
        }
        let Some(opened) = &self.opened else {
            return Err(Duration::ZERO);
        };
        let note = CommitNote::new(&opened.instance, batch, refusals);
        let written = self.store.write(records, note.encode()).await;
        written.map_err(|error| self.failed(error))?;
        faults::reach(Point::AfterTransaction);
        self.contact.reached();
        Ok(())
    }

    pub(crate) fn is_preflight_due(&self) -> bool {
        self.opened.is_none() || !self.store.is_open() || self.contact.is_preflight_due()
    }

    /// Opens the store, or checks whether it can be reached. After an error, which is reported here, returns how long to
    /// wait.
    pub(crate) async fn preflight(&mut self) -> Result<(), Duration> {
        if self.opened.is_none() || !self.store.is_open() {
            return self.open().await;
        }
        let answer = self.store.preflight().await;
        answer.map_err(|error| self.failed(error))?;
        self.contact.reached();
        Ok(())
    }

    fn failed(&mut self, error: WriteError) -> Duration {
        let unwritten: Unwritten = unwritten(error);
        self.contact.failed(&unwritten)
    }
}
