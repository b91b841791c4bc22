//! One of the stores that batches go to.

use std::time::Duration;

use common::backoff::Backoff;
use common::health::Dependency;
use store::Store;
use tokio::time::Instant;

use crate::batch::DecodedBatch;
use crate::write::{Unwritten, Writer};

/// Interval of preflights while there is nothing to write.
const IDLE_PREFLIGHT: Duration = Duration::from_secs(10);

/// Whether a store answers, and how long to wait while it doesn't.
pub(crate) struct Contact {
    up: Dependency,
    /// Waits while the store is unavailable.
    retry: Backoff,
    /// Waits while the settings or the store need a correction.
    hold: Backoff,
    /// When the store last accepted rows or a preflight.
    last: Option<Instant>,
}

impl Contact {
    pub(crate) fn new(up: Dependency) -> Self {
        Self {
            up,
            retry: Backoff::new(Duration::from_millis(250), Duration::from_secs(10)),
            hold: Backoff::new(Duration::from_secs(2), Duration::from_mins(1)),
            last: None,
        }
    }

    /// Whether the store has to be asked, because nothing was heard of it for a while.
    pub(crate) fn is_preflight_due(&self) -> bool {
        let last = self.last;
        last.is_none_or(|contact| contact.elapsed() >= IDLE_PREFLIGHT)
    }

    pub(crate) fn reached(&mut self) {
        self.up.up();
        self.retry.reset();
        self.hold.reset();
        self.last = Some(Instant::now());
    }

    /// Reports the error, and returns how long to wait.
    pub(crate) fn failed(&mut self, unwritten: &Unwritten) -> Duration {
        self.up.down(unwritten);
        self.last = None;
        match unwritten {
            Unwritten::Retry { after, .. } => self.retry.next_wait().max(after.unwrap_or_default()),
            Unwritten::Hold { .. } => self.hold.next_wait(),
        }
    }
}

/// A store, and what it has of the elements at the list's head: while another store is unavailable, they stay
/// there, and this one doesn't get them again.
pub(crate) struct Target<S> {
    pub(crate) name: String,
    writer: Writer<S>,
    contact: Contact,
    /// The number of elements that it is done with.
    done: usize,
    /// The rows of these that it refused, in order.
    pub(crate) refused: Vec<RefusedRow>,
}

/// A row that a store refused.
pub(crate) struct RefusedRow {
    /// The index of its element.
    pub(crate) place: usize,
    /// The store's message.
    pub(crate) detail: String,
}

impl<S: Store> Target<S> {
    pub(crate) fn new(name: String, store: S, up: Dependency) -> Self {
        Self {
            name,
            writer: Writer::new(store),
            contact: Contact::new(up),
            done: 0,
            refused: Vec::new(),
        }
    }

    /// Forgets what the store has of the list's head, which is another one from now on.
    pub(crate) fn forget(&mut self) {
        self.done = 0;
        self.refused.clear();
    }

    /// Writes the rows of a batch that the store doesn't have yet. After an error, which is reported here, returns
    /// how long to wait.
    pub(crate) async fn write(&mut self, batch: &DecodedBatch<'_>) -> Result<(), Duration> {
        let missing = batch.rows_of_store(&self.name, self.done);
        let written = self.writer.write(&missing.rows).await;
        let written = written.map_err(|unwritten| self.contact.failed(&unwritten))?;
        // Without a row, the store wasn't used.
        if !missing.rows.is_empty() {
            self.contact.reached();
        }
        let refused = written.rejected.into_iter().map(|row| RefusedRow {
            place: missing.places[row.index],
            detail: row.detail,
        });
        self.refused.extend(refused);
        self.done = batch.len;
        Ok(())
    }

    /// Whether the store has to be asked, because nothing was heard of it for a while.
    pub(crate) fn is_preflight_due(&self) -> bool {
        self.contact.is_preflight_due()
    }

    /// Checks whether the store accepts writes. After an error, which is reported here, returns how long to wait.
    pub(crate) async fn preflight(&mut self) -> Result<(), Duration> {
        let answer = self.writer.preflight().await;
        answer.map_err(|unwritten| self.contact.failed(&unwritten))?;
        self.contact.reached();
        Ok(())
    }
}
