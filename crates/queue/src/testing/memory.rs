//! A queue in memory that does what the Redis scripts do, in their order, under a clock that can be
//! set. It has no keys of a wrong type and no other pipeline's data to refuse.

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
use model::position::Positions;

/// A queue in memory. Clones share its data.
///
/// Its clock follows tokio's, so that a simulation runs in paused time.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
    limits: Limits,
    broken: Option<BrokenRule>,
    crashes_in_commit: bool,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    /// The server's time at `started`. Setting the clock changes it.
    epoch: Mutex<Timestamp>,
    started: Instant,
}

/// The data of a [`MemoryQueue`] at one instant.
#[derive(Debug, Clone)]
pub(super) struct SavedStore(Store);

impl MemoryQueue {
    /// Creates an empty queue whose clock is at `epoch`.
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
            crashes_in_commit: false,
        }
    }

    /// Returns a handle with other settings, as another process would have.
    #[must_use]
    pub fn open(&self, settings: &QueueSettings) -> Self {
        Self {
            limits: Limits::new(settings),
            ..self.clone()
        }
    }

    /// Returns a handle whose calls break a rule.
    pub(super) fn with_broken_rule(self, broken: Option<BrokenRule>) -> Self {
        Self { broken, ..self }
    }

    /// Returns a handle whose commits crash the server.
    pub(super) fn crash_in_commit(self) -> Self {
        Self {
            crashes_in_commit: true,
            ..self
        }
    }

    /// The server's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared
            .epoch
            .lock()
            .unwrap()
            .plus(self.shared.started.elapsed())
    }

    /// Sets the server's clock, which goes on from there.
    pub(super) fn set_clock(&self, time: Timestamp) {
        let passed = self.shared.started.elapsed();
        *self.shared.epoch.lock().unwrap() = time.minus(passed);
    }

    /// Copies the data.
    pub(super) fn save(&self) -> SavedStore {
        SavedStore(self.store().clone())
    }

    /// Replaces the data by saved data. The clock goes on.
    pub(super) fn restore(&self, saved: SavedStore) {
        *self.store() = saved.0;
    }

    /// Deletes all data, as FLUSHALL does.
    pub fn flush(&self) {
        *self.store() = Store::default();
    }

    /// Appends to a list, as an external producer.
    pub fn push_foreign(&self, list: List, item: &[u8]) {
        self.store().push_foreign(list, item);
    }

    /// Pushes to the head of a list, as an external producer.
    pub fn push_to_head(&self, list: List, item: &[u8]) {
        self.store().push_to_head(list, item);
    }

    /// All elements of a list, the oldest first.
    #[must_use]
    pub fn items(&self, list: List) -> Vec<Vec<u8>> {
        self.store().items(list, 0, usize::MAX)
    }

    /// The number of elements in a list.
    #[must_use]
    pub fn length(&self, list: List) -> usize {
        self.store().length(list)
    }

    /// The consumer's state, without a lease.
    #[must_use]
    pub fn state_of(&self, consumer: Stage) -> State {
        self.store().state(consumer)
    }

    /// The token that holds the consumer's lease now.
    pub(super) fn holder(&self, consumer: Stage) -> Option<String> {
        self.store().holder(consumer, self.now())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap()
    }
}

/// The calls as plain functions. The simulation decides when they arrive.
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

    pub(super) fn peek_now(&self, consumer: Stage, skip: usize, max: usize) -> Peek {
        self.store().peek(consumer, skip, max)
    }

    pub(super) fn commit_now(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        let now = self.now();
        let mut store = self.store();
        store.check_commit(lease, commit, now, self.broken)?;
        if self.crashes_in_commit {
            // A transaction is rolled back. Without one, the first step remains.
            if self.broken == Some(BrokenRule::TrimBeforeAppend) {
                store.trim(lease.consumer, commit);
            }
            return Err(QueueError::Unknown("the server crashed".into()));
        }
        store.apply(lease, commit, self.limits);
        store.trim(lease.consumer, commit);
        store.extend_lease(lease, now);
        Ok(())
    }

    pub(super) fn progress_now(&self, consumer: Stage) -> Progress {
        self.store().progress(consumer)
    }

    /// The number of applied commits whose sender didn't hold the lease.
    pub(super) fn commits_without_lease(&self) -> u64 {
        self.store().commits_without_lease
    }

    pub(super) fn snapshot_now(&self) -> Snapshot {
        self.store().snapshot(self.now())
    }
}

impl Queue for MemoryQueue {
    async fn append(&self, append: &Append) -> Result<Appended, QueueError> {
        Ok(self.append_now(append))
    }

    async fn positions(&self) -> Result<Positions, QueueError> {
        Ok(self.store().positions.clone())
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

    async fn peek(&self, lease: &Lease, skip: usize, max: usize) -> Result<Peek, QueueError> {
        Ok(self.peek_now(lease.consumer, skip, max))
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
