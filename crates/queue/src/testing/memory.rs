//! A queue in memory that checks and does what the scripts do, in their order, under a clock that
//! can be moved. Its keys have types, and it belongs to one pipeline: there is nothing to refuse.

mod store;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::time::Timestamp;
use tokio::time::Instant;

use self::store::{Limits, Store};
use super::simulation::BrokenRule;
use crate::list::List;
use crate::settings::QueueSettings;
use crate::{Append, Appended, Commit, Lease, Peek, Progress, Queue, QueueError, Snapshot, State};
use model::Stage;

/// Lists, state, leases and ledger in memory; clones share them.
///
/// Its time is tokio's, so that it passes by itself in a test and stands still in a simulation.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
    limits: Limits,
    broken: Option<BrokenRule>,
    dying: bool,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    /// What the server's clock showed at `started`; moving the clock moves this.
    epoch: Mutex<Timestamp>,
    started: Instant,
}

/// All that a server remembers, as of one moment.
#[derive(Debug, Clone)]
pub struct Memory(Store);

impl MemoryQueue {
    /// Makes an empty one, whose clock shows `epoch` now.
    #[must_use]
    pub fn new(settings: &QueueSettings, epoch: Timestamp) -> Self {
        Self {
            shared: Arc::new(Shared {
                store: Mutex::default(),
                epoch: Mutex::new(epoch),
                started: Instant::now(),
            }),
            limits: Limits::new(settings),
            broken: None,
            dying: false,
        }
    }

    /// A new handle with other settings, as another process would have.
    #[must_use]
    pub fn open(&self, settings: &QueueSettings) -> Self {
        Self {
            limits: Limits::new(settings),
            ..self.clone()
        }
    }

    /// A handle to a server that breaks a rule, to show that somebody notices.
    #[must_use]
    pub fn breaking(self, broken: Option<BrokenRule>) -> Self {
        Self { broken, ..self }
    }

    /// A handle to a server that dies while it carries out what it is told.
    #[must_use]
    pub fn dying(self) -> Self {
        Self {
            dying: true,
            ..self
        }
    }

    /// What the server's clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared
            .epoch
            .lock()
            .unwrap()
            .plus(self.shared.started.elapsed())
    }

    /// Moves the server's clock, forth or back, as somebody who sets it would.
    pub fn move_clock(&self, milliseconds: i64) {
        let mut epoch = self.shared.epoch.lock().unwrap();
        let by = Duration::from_millis(milliseconds.unsigned_abs());
        *epoch = if milliseconds < 0 {
            epoch.minus(by)
        } else {
            epoch.plus(by)
        };
    }

    /// Sets the server's clock, which goes on from there.
    pub fn set_clock(&self, time: Timestamp) {
        let passed = self.shared.started.elapsed();
        *self.shared.epoch.lock().unwrap() = time.minus(passed);
    }

    /// All that the server remembers.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory(self.store().clone())
    }

    /// Puts the server back to what it remembered once; its clock goes on.
    pub fn recall(&self, memory: Memory) {
        *self.store() = memory.0;
    }

    /// Forgets everything, as FLUSHALL does.
    pub fn flush(&self) {
        *self.store() = Store::default();
    }

    /// Somebody else appends to a list.
    pub fn push_foreign(&self, list: List, item: &[u8]) {
        self.store().push_foreign(list, item);
    }

    /// Somebody else pushes to the head of a list.
    pub fn push_to_head(&self, list: List, item: &[u8]) {
        self.store().push_to_head(list, item);
    }

    /// All elements of a list, the oldest first.
    #[must_use]
    pub fn items(&self, list: List) -> Vec<Vec<u8>> {
        self.store().items(list, usize::MAX)
    }

    /// Elements in a list.
    #[must_use]
    pub fn length(&self, list: List) -> usize {
        self.store().length(list)
    }

    /// The consumer's state, whoever asks.
    #[must_use]
    pub fn state_of(&self, consumer: Stage) -> State {
        self.store().state(consumer)
    }

    /// The token that holds the consumer's lease now.
    #[must_use]
    pub fn holder(&self, consumer: Stage) -> Option<String> {
        self.store().holder(consumer, self.now())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap()
    }
}

/// The calls without waiting, for whoever decides by himself when they arrive.
impl MemoryQueue {
    pub(super) fn append_now(&self, append: &Append) -> Appended {
        self.store().append(append, self.limits)
    }

    pub(super) fn lease_now(&self, consumer: Stage, nonce: &str, limit: Duration) -> Option<Lease> {
        self.store().lease(consumer, nonce, limit, self.now())
    }

    pub(super) fn renew_now(&self, lease: &Lease) -> Result<(), QueueError> {
        self.store().renew(lease, self.now())
    }

    pub(super) fn release_now(&self, lease: &Lease) -> Result<(), QueueError> {
        self.store().release(lease, self.now())
    }

    pub(super) fn state_now(&self, lease: &Lease) -> Result<State, QueueError> {
        let now = self.now();
        let store = self.store();
        if store.holder(lease.consumer, now).as_ref() == Some(&lease.token) {
            Ok(store.state(lease.consumer))
        } else {
            Err(QueueError::Fenced)
        }
    }

    pub(super) fn peek_now(&self, consumer: Stage, max: usize) -> Peek {
        self.store().peek(consumer, max)
    }

    pub(super) fn commit_now(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        let now = self.now();
        let mut store = self.store();
        store.check(lease, commit, now, self.broken)?;
        if self.dying {
            // Of a transaction nothing stays, of a broken one what it did first.
            if self.broken == Some(BrokenRule::TrimBeforeAppend) {
                store.trim(lease.consumer, commit);
            }
            return Err(QueueError::Unknown("the server died".into()));
        }
        store.hand_on(lease, commit, self.limits);
        store.trim(lease.consumer, commit);
        store.keep(lease, now);
        Ok(())
    }

    pub(super) fn progress_now(&self, consumer: Stage) -> Progress {
        self.store().progress(consumer)
    }

    /// Commits carried out for who didn't hold the lease.
    pub(super) fn unlawful(&self) -> u64 {
        self.store().unlawful
    }

    pub(super) fn snapshot_now(&self) -> Snapshot {
        self.store().snapshot(self.now())
    }
}

impl Queue for MemoryQueue {
    async fn append(&self, append: &Append) -> Result<Appended, QueueError> {
        Ok(self.append_now(append))
    }

    async fn lease(
        &self,
        consumer: Stage,
        nonce: &str,
        limit: Duration,
    ) -> Result<Option<Lease>, QueueError> {
        Ok(self.lease_now(consumer, nonce, limit))
    }

    async fn renew(&self, lease: &Lease) -> Result<(), QueueError> {
        self.renew_now(lease)
    }

    async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        self.release_now(lease)
    }

    async fn state(&self, lease: &Lease) -> Result<State, QueueError> {
        self.state_now(lease)
    }

    async fn peek(&self, lease: &Lease, max: usize) -> Result<Peek, QueueError> {
        Ok(self.peek_now(lease.consumer, max))
    }

    async fn commit(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        self.commit_now(lease, commit)
    }

    async fn progress(&self, consumer: Stage) -> Result<Progress, QueueError> {
        Ok(self.progress_now(consumer))
    }

    async fn snapshot(&self) -> Result<Snapshot, QueueError> {
        Ok(self.snapshot_now())
    }
}
