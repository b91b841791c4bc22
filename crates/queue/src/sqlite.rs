//! The queue in one `SQLite` file, for the one-process deployment and for tests.

mod database;
mod dead_letters;
mod error;
#[cfg(test)]
mod plans;
mod schema;
mod steps;
mod writer;

use std::path::Path;
use std::time::Duration;

use common::clock::Clock;

use self::database::Database;
use crate::changes::{Append, Appended, Commit, Lease, Peek, Progress, Snapshot, State};
use crate::error::QueueError;
use crate::list::List;
use crate::queue::Queue;
use crate::settings::QueueSettings;
use crate::stretch::Stretch;
use model::Stage;
use model::position::Positions;

/// Lists, state, leases and ledger in one file. Clones share its threads.
#[derive(Debug, Clone)]
pub struct SqliteQueue {
    database: Database,
    limits: Limits,
    clock: Clock,
    holders: Holders,
}

/// The time of a lease that needs no renewal: a hundred years.
const FOR_EVER: Duration = Duration::from_hours(100 * 365 * 24);

/// The consumers that may ask for leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holders {
    /// Stages of several processes: a lease expires, and another stage can acquire it.
    Replicas,
    /// One stage of each kind, in the only process that uses the file. A request for a lease succeeds
    /// at once, and a lease ends only when the next one is given. So renewals write nothing.
    OneProcess,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    list: usize,
    dead_count: usize,
    dead_bytes: usize,
}

impl SqliteQueue {
    /// Opens or creates the file. Several processes may open the same file.
    /// [`QueueError::Incompatible`] if the file belongs to another program or has a newer version.
    pub fn open(path: &Path, settings: &QueueSettings, clock: Clock) -> Result<Self, QueueError> {
        Ok(Self::on(Database::open(path)?, settings, clock))
    }

    /// Like [`SqliteQueue::open`], for the only process that uses the file, with at most one stage of each
    /// kind. It doesn't wait until the leases of an earlier process expire.
    pub fn open_alone(
        path: &Path,
        settings: &QueueSettings,
        clock: Clock,
    ) -> Result<Self, QueueError> {
        Ok(Self {
            holders: Holders::OneProcess,
            ..Self::open(path, settings, clock)?
        })
    }

    /// Opens an existing file for reading only, also while another process uses it.
    pub fn open_read_only(
        path: &Path,
        settings: &QueueSettings,
        clock: Clock,
    ) -> Result<Self, QueueError> {
        Ok(Self::on(Database::open_read_only(path)?, settings, clock))
    }

    /// The number of elements at which the raw list or the normalized list counts as full.
    #[must_use]
    pub const fn list_limit(&self) -> usize {
        self.limits.list
    }

    /// Most dead letters that are kept.
    #[must_use]
    pub const fn dead_letter_limit(&self) -> usize {
        self.limits.dead_count
    }

    /// Reads up to `max` elements of a list from the position `from` on, or the newest ones, without taking
    /// them.
    pub async fn stretch(
        &self,
        list: List,
        from: Option<i64>,
        max: usize,
    ) -> Result<Stretch, QueueError> {
        let now = self.clock.now();
        self.database
            .read(move |tx| steps::stretch(tx, list, from, max, now))
            .await
    }

    fn on(database: Database, settings: &QueueSettings, clock: Clock) -> Self {
        let limits = Limits {
            list: settings.limits.queue_limit,
            dead_count: settings.limits.dead_letter_limit,
            dead_bytes: settings.limits.dead_letter_bytes,
        };
        Self {
            database,
            limits,
            clock,
            holders: Holders::Replicas,
        }
    }
}

impl Queue for SqliteQueue {
    async fn append(&self, append: &Append) -> Result<Appended, QueueError> {
        let (append, limits) = (append.clone(), self.limits);
        self.database
            .write(move |tx| steps::append(tx, &append, limits))
            .await
    }

    async fn positions(&self) -> Result<Positions, QueueError> {
        self.database.read(steps::positions).await
    }

    async fn lease(
        &self,
        consumer: Stage,
        nonce: &str,
        limit: Duration,
    ) -> Result<Option<Lease>, QueueError> {
        let (nonce, clock) = (nonce.to_owned(), self.clock);
        let instance = format!("{:016x}", fastrand::u64(..));
        let holders = self.holders;
        self.database
            .write(move |tx| {
                let limit = match holders {
                    Holders::Replicas => limit,
                    Holders::OneProcess => {
                        steps::end_lease(tx, consumer)?;
                        FOR_EVER
                    }
                };
                steps::lease(tx, consumer, &nonce, limit, &instance, clock.now())
            })
            .await
    }

    async fn renew(&self, lease: &Lease) -> Result<(), QueueError> {
        let (lease, clock) = (lease.clone(), self.clock);
        match self.holders {
            Holders::Replicas => {
                self.database
                    .write(move |tx| steps::renew(tx, &lease, clock.now()))
                    .await
            }
            Holders::OneProcess => {
                self.database
                    .read(move |tx| steps::check_held(tx, &lease, clock.now()))
                    .await
            }
        }
    }

    async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        let (lease, clock) = (lease.clone(), self.clock);
        self.database
            .write(move |tx| steps::release(tx, &lease, clock.now()))
            .await
    }

    async fn state(&self, lease: &Lease) -> Result<State, QueueError> {
        let (lease, clock) = (lease.clone(), self.clock);
        self.database
            .read(move |tx| steps::state(tx, &lease, clock.now()))
            .await
    }

    async fn peek(&self, lease: &Lease, skip: usize, max: usize) -> Result<Peek, QueueError> {
        let consumer = lease.consumer;
        self.database
            .read(move |tx| steps::peek(tx, consumer, skip, max))
            .await
    }

    async fn commit(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        let (lease, commit) = (lease.clone(), commit.clone());
        let (limits, clock) = (self.limits, self.clock);
        self.database
            .write(move |tx| steps::commit(tx, &lease, &commit, limits, clock.now()))
            .await
    }

    async fn progress(&self, consumer: Stage) -> Result<Progress, QueueError> {
        self.database
            .read(move |tx| steps::progress(tx, consumer))
            .await
    }

    async fn snapshot(&self) -> Result<Snapshot, QueueError> {
        let clock = self.clock;
        self.database
            .read(move |tx| steps::snapshot(tx, clock.now()))
            .await
    }
}
