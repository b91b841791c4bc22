//! Queues on real backends, and what external programs do to them.

use std::time::Duration;

use common::clock::Clock;
use model::Stage;
use queue::list::List;
use queue::redis::RedisQueue;
use queue::settings::QueueSettings;
use queue::sqlite::SqliteQueue;
use queue::testing::{MemoryQueue, TempQueue, redis_settings};
use queue::{Lease, Peek, Queue, QueueError};
use testkit::Redis;

/// A lease that lasts longer than any test.
pub(crate) const LEASE: Duration = Duration::from_mins(1);
/// A lease whose expiry a test waits for.
pub(crate) const SHORT_LEASE: Duration = Duration::from_millis(400);

pub(crate) fn settings() -> QueueSettings {
    QueueSettings {
        lease: LEASE,
        ..queue::testing::settings()
    }
}

/// A backend that the contract suite runs on.
pub(crate) trait Fixture: Send {
    type Q: Queue;
    fn start() -> Self;
    /// A new handle, as in another process.
    fn open(&self, settings: &QueueSettings) -> Self::Q;
    /// Appends to a list as an external producer.
    fn push_foreign(&self, list: List, item: &str);
    /// Pushes to a list's head as an external producer.
    fn push_to_head(&self, list: List, item: &str);
    /// Replaces a list by a key of another type; `restore` undoes it.
    fn replace_key(&self, list: List);
    fn restore(&self, list: List);
    /// Deletes everything.
    fn flush(&self);

    fn queue(&self) -> Self::Q {
        self.open(&settings())
    }
}

pub(crate) struct OnRedis(pub(crate) Redis);

const fn key(list: List) -> &'static str {
    match list {
        List::Raw => "raw_events",
        List::Normalized => "normalized_events",
        List::Dead => "dead_letters",
    }
}

impl Fixture for OnRedis {
    type Q = RedisQueue;

    fn start() -> Self {
        Self(Redis::start())
    }

    fn open(&self, settings: &QueueSettings) -> RedisQueue {
        RedisQueue::new(settings, &redis_settings(self.0.port())).unwrap()
    }

    fn push_foreign(&self, list: List, item: &str) {
        let _ = self.0.cli(&["RPUSH", key(list), item]);
    }

    fn push_to_head(&self, list: List, item: &str) {
        let _ = self.0.cli(&["LPUSH", key(list), item]);
    }

    fn replace_key(&self, list: List) {
        if self.0.cli(&["EXISTS", key(list)]) == "1" {
            let _ = self.0.cli(&["RENAME", key(list), "aside"]);
        }
        let _ = self.0.cli(&["SET", key(list), "not a list"]);
    }

    fn restore(&self, list: List) {
        let _ = self.0.cli(&["DEL", key(list)]);
        if self.0.cli(&["EXISTS", "aside"]) == "1" {
            let _ = self.0.cli(&["RENAME", "aside", key(list)]);
        }
    }

    fn flush(&self) {
        let _ = self.0.cli(&["FLUSHALL"]);
    }
}

pub(crate) struct OnSqlite(TempQueue);

const fn table(list: List) -> &'static str {
    match list {
        List::Raw => "raw",
        List::Normalized => "normalized",
        List::Dead => "dead",
    }
}

impl Fixture for OnSqlite {
    type Q = SqliteQueue;

    fn start() -> Self {
        Self(TempQueue::new(settings()))
    }

    fn open(&self, settings: &QueueSettings) -> SqliteQueue {
        self.0.open_as(settings, Clock::system())
    }

    fn push_foreign(&self, list: List, item: &str) {
        self.0.push_foreign(list, item.as_bytes());
    }

    fn push_to_head(&self, list: List, item: &str) {
        self.0.push_to_head(list, item.as_bytes());
    }

    fn replace_key(&self, list: List) {
        let table = table(list);
        self.0.run(&format!(
            "ALTER TABLE {table} RENAME TO aside; CREATE VIEW {table} AS SELECT 'x' AS other;"
        ));
    }

    fn restore(&self, list: List) {
        let table = table(list);
        self.0.run(&format!(
            "DROP VIEW {table}; ALTER TABLE aside RENAME TO {table};"
        ));
    }

    fn flush(&self) {
        self.0.run(
            "DELETE FROM raw; DELETE FROM normalized; DELETE FROM dead; DELETE FROM consumer;
             DELETE FROM state; DELETE FROM ledger; DELETE FROM meta;",
        );
    }
}

pub(crate) struct OnMemory(MemoryQueue);

impl Fixture for OnMemory {
    type Q = MemoryQueue;

    fn start() -> Self {
        Self(MemoryQueue::new(&settings(), Clock::system().now()))
    }

    fn open(&self, settings: &QueueSettings) -> MemoryQueue {
        self.0.open(settings)
    }

    fn push_foreign(&self, list: List, item: &str) {
        self.0.push_foreign(list, item.as_bytes());
    }

    fn push_to_head(&self, list: List, item: &str) {
        self.0.push_to_head(list, item.as_bytes());
    }

    fn replace_key(&self, list: List) {
        unreachable!("{list:?} is a list by its type");
    }

    fn restore(&self, list: List) {
        unreachable!("{list:?} is a list by its type");
    }

    fn flush(&self) {
        self.0.flush();
    }
}

pub(crate) fn item(number: usize) -> Vec<u8> {
    format!("item-{number}").into_bytes()
}

pub(crate) fn items(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers.map(item).collect()
}

pub(crate) fn nonce() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// Acquires a free lease that doesn't expire within a test.
pub(crate) async fn take<Q: Queue>(queue: &Q, stage: Stage) -> Lease {
    take_for(queue, stage, LEASE).await
}

/// Acquires a free lease for this time.
pub(crate) async fn take_for<Q: Queue>(queue: &Q, stage: Stage, limit: Duration) -> Lease {
    let lease = queue.lease(stage, &nonce(), limit).await.unwrap();
    lease.expect("the lease is free")
}

/// Acquires a lease for this time as soon as it is free.
pub(crate) async fn take_when_free<Q: Queue>(queue: &Q, stage: Stage, limit: Duration) -> Lease {
    loop {
        if let Some(lease) = queue.lease(stage, &nonce(), limit).await.unwrap() {
            return lease;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn peek<Q: Queue>(queue: &Q, lease: &Lease) -> Peek {
    queue.peek(lease, 0, 1_000_000).await.unwrap()
}

pub(crate) fn is_wrong_type<T: std::fmt::Debug>(result: &Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::WrongType(_)))
}
