//! A queue in a file of its own.

use std::path::PathBuf;
use std::time::Duration;

use common::clock::Clock;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{PATIENCE, POLL, nonce};
use crate::ledger::{Counter, Ledger};
use crate::list::List;
use crate::settings::QueueSettings;
use crate::sqlite::SqliteQueue;
use crate::{Append, Appended, Commit, Lease, Queue};
use model::Stage;

/// How long another program may hold the file's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(30);

/// A queue in a file that is gone when this is dropped.
#[derive(Debug)]
pub struct TempQueue {
    dir: TempDir,
    settings: QueueSettings,
    own: SqliteQueue,
}

impl TempQueue {
    /// Makes an empty one.
    #[must_use]
    pub fn new(settings: QueueSettings) -> Self {
        let dir = TempDir::with_prefix("queue-").unwrap();
        let path = dir.path().join("queue.db");
        let own = SqliteQueue::open(&path, &settings, Clock::system()).unwrap();
        Self { dir, settings, own }
    }

    /// The settings that it was made with.
    #[must_use]
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// A new handle, as another process would have.
    #[must_use]
    pub fn open(&self) -> SqliteQueue {
        self.open_as(&self.settings, Clock::system())
    }

    /// A new handle that takes all leases to have run out, as one of a later time would.
    #[must_use]
    pub fn open_later(&self) -> SqliteQueue {
        self.open_as(&self.settings, Clock::ahead(Duration::from_hours(1)))
    }

    /// A new handle with other settings, or with another clock.
    #[must_use]
    pub fn open_as(&self, settings: &QueueSettings, clock: Clock) -> SqliteQueue {
        SqliteQueue::open(&self.path(), settings, clock).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("queue.db")
    }

    /// Runs SQL, as anybody can who has the file.
    pub fn run(&self, sql: &str) {
        self.connect().execute_batch(sql).unwrap();
    }

    fn connect(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(BUSY_LIMIT).unwrap();
        connection
    }

    /// Somebody else appends to a list.
    pub fn push_foreign(&self, list: List, item: &[u8]) {
        let sql = format!("INSERT INTO {} (item) VALUES (?1)", table(list));
        self.connect().execute(&sql, [item]).unwrap();
    }

    /// Somebody else pushes to the head of a list.
    pub fn push_to_head(&self, list: List, item: &[u8]) {
        let table = table(list);
        let sql = format!("INSERT INTO {table} SELECT coalesce(min(id), 1) - 1, ?1 FROM {table}");
        self.connect().execute(&sql, [item]).unwrap();
    }

    /// All leases run out, as those of killed stages do after a while.
    pub fn expire_leases(&self) {
        self.run("UPDATE consumer SET until = 0");
    }

    /// All elements of a list, the oldest first.
    #[must_use]
    pub fn items(&self, list: List) -> Vec<Vec<u8>> {
        let connection = self.connect();
        let sql = format!("SELECT item FROM {} ORDER BY id", table(list));
        let mut select = connection.prepare(&sql).unwrap();
        let rows = select.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// Appends readings, as the ingester does; there has to be room.
    pub async fn append(&self, raw: Vec<Vec<u8>>) {
        let dead = Vec::new();
        let appended = self.own.append(&Append { raw, dead }).await.unwrap();
        assert!(matches!(appended, Appended::Done { .. }), "{appended:?}");
    }

    /// Appends rows, as the transformer does, which mustn't be running.
    pub async fn append_rows(&self, outputs: Vec<Vec<u8>>) {
        let lease = self.lease(Stage::Transformer).await;
        let change = Commit {
            outputs,
            ..Commit::default()
        };
        self.commit(&lease, change).await;
    }

    /// Takes all that is in a consumer's list, as the consumer does, which mustn't be running, and
    /// counts it as done with.
    pub async fn drain(&self, consumer: Stage) -> Vec<Vec<u8>> {
        let done = match consumer {
            Stage::Ingester => panic!("it consumes no list"),
            Stage::Transformer => Counter::InRows,
            Stage::Sink => Counter::RowsStored,
        };
        let lease = self.lease(consumer).await;
        let items = self.own.peek(&lease, usize::MAX).await.unwrap().items;
        let change = Commit {
            take: items.len(),
            counts: vec![(done, i64::try_from(items.len()).unwrap())],
            ..Commit::default()
        };
        self.commit(&lease, change).await;
        items
    }

    async fn lease(&self, consumer: Stage) -> Lease {
        let (nonce, limit) = (nonce(), self.settings.lease);
        let lease = self.own.lease(consumer, &nonce, limit).await.unwrap();
        lease.expect("the lease is free")
    }

    async fn commit(&self, lease: &Lease, commit: Commit) {
        let number = self.own.progress(lease.consumer).await.unwrap().number;
        let commit = Commit { number, ..commit };
        self.own.commit(lease, &commit).await.unwrap();
        self.own.release(lease).await.unwrap();
    }

    /// Counters and lengths of now.
    pub async fn ledger(&self) -> Ledger {
        self.own.snapshot().await.unwrap().ledger
    }

    /// Waits until `is_done` says so of the ledger.
    pub async fn wait_for(&self, is_done: impl Fn(&Ledger) -> bool) -> Ledger {
        let started = Instant::now();
        loop {
            let ledger = self.ledger().await;
            if is_done(&ledger) {
                return ledger;
            }
            assert!(started.elapsed() < PATIENCE, "still {ledger:#?}");
            sleep(POLL).await;
        }
    }

    /// Waits until a counter has reached `value`.
    pub async fn wait_count(&self, counter: Counter, value: i64) -> Ledger {
        self.wait_for(|ledger| ledger.get(counter) >= value).await
    }
}

const fn table(list: List) -> &'static str {
    match list {
        List::Raw => "raw",
        List::Normalized => "normalized",
        List::Dead => "dead",
    }
}
