//! A queue in a temporary file.

use std::path::PathBuf;
use std::time::Duration;

use common::clock::Clock;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{POLL, WAIT_LIMIT, nonce};
use crate::ledger::{Counter, Ledger};
use crate::list::List;
use crate::settings::QueueSettings;
use crate::sqlite::SqliteQueue;
use crate::{Append, Appended, Commit, Lease, Queue, State};
use model::Stage;

/// How long to wait for the file's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(30);

/// A queue in a temporary file, which is deleted when this is dropped.
#[derive(Debug)]
pub struct TempQueue {
    dir: TempDir,
    settings: QueueSettings,
    own: SqliteQueue,
}

impl TempQueue {
    /// Creates an empty queue.
    #[must_use]
    pub fn new(settings: QueueSettings) -> Self {
        let dir = TempDir::with_prefix("queue-").unwrap();
        let path = dir.path().join("queue.db");
        let own = SqliteQueue::open(&path, &settings, Clock::system()).unwrap();
        Self { dir, settings, own }
    }

    /// The queue's settings.
    #[must_use]
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Opens a handle, as another process would.
    #[must_use]
    pub fn open(&self) -> SqliteQueue {
        self.open_as(&self.settings, Clock::system())
    }

    /// Opens a handle whose clock is an hour ahead, so that all leases have expired for it.
    #[must_use]
    pub fn open_later(&self) -> SqliteQueue {
        self.open_as(&self.settings, Clock::ahead(Duration::from_hours(1)))
    }

    /// Opens a handle with other settings or another clock.
    #[must_use]
    pub fn open_as(&self, settings: &QueueSettings, clock: Clock) -> SqliteQueue {
        SqliteQueue::open(&self.path(), settings, clock).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("queue.db")
    }

    /// Runs SQL, as an external program.
    pub fn run(&self, sql: &str) {
        self.connect().execute_batch(sql).unwrap();
    }

    fn connect(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(BUSY_LIMIT).unwrap();
        connection
    }

    /// Appends to a list, as an external producer.
    pub fn push_foreign(&self, list: List, item: &[u8]) {
        let sql = format!("INSERT INTO {} (item) VALUES (?1)", table(list));
        self.connect().execute(&sql, [item]).unwrap();
    }

    /// Pushes to the head of a list, as an external producer.
    pub fn push_to_head(&self, list: List, item: &[u8]) {
        let table = table(list);
        let sql = format!("INSERT INTO {table} SELECT coalesce(min(id), 1) - 1, ?1 FROM {table}");
        self.connect().execute(&sql, [item]).unwrap();
    }

    /// Expires all leases.
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

    /// The state of a consumer, ordered by key.
    #[must_use]
    pub fn state_of(&self, consumer: Stage) -> State {
        let connection = self.connect();
        let sql = "SELECT key, value FROM state WHERE consumer = ?1 ORDER BY key";
        let mut select = connection.prepare(sql).unwrap();
        let rows = select.query_map([consumer.name()], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Appends readings, as the ingester. Panics if the list is full.
    pub async fn append(&self, raw: Vec<Vec<u8>>) {
        let dead = Vec::new();
        let appended = self
            .own
            .append(&Append {
                raw,
                dead,
                ..Append::default()
            })
            .await
            .unwrap();
        assert!(matches!(appended, Appended::Done { .. }), "{appended:?}");
    }

    /// Appends rows, as the transformer. Panics if its lease is held.
    pub async fn append_rows(&self, outputs: Vec<Vec<u8>>) {
        let lease = self.lease(Stage::Transformer).await;
        let change = Commit {
            outputs,
            ..Commit::default()
        };
        self.commit(&lease, change).await;
    }

    /// Takes all elements of a consumer's list and counts them as processed. Panics if the consumer's
    /// lease is held.
    pub async fn drain(&self, consumer: Stage) -> Vec<Vec<u8>> {
        let processed: &[Counter] = match consumer {
            Stage::Ingester | Stage::Alerts => panic!("the {consumer} consumes no list"),
            Stage::Transformer => &[Counter::Samples, Counter::Readings, Counter::InRows],
            Stage::Sink => &[Counter::RowsStored],
        };
        let lease = self.lease(consumer).await;
        let items = self.own.peek(&lease, 0, usize::MAX).await.unwrap().items;
        let change = Commit {
            take: items.len(),
            counts: processed
                .iter()
                .map(|counter| (*counter, i64::try_from(items.len()).unwrap()))
                .collect(),
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

    /// The current counters and lengths.
    pub async fn ledger(&self) -> Ledger {
        self.own.snapshot().await.unwrap().ledger
    }

    /// Waits until `is_done` returns true for the ledger.
    pub async fn wait_for(&self, is_done: impl Fn(&Ledger) -> bool) -> Ledger {
        let started = Instant::now();
        loop {
            let ledger = self.ledger().await;
            if is_done(&ledger) {
                return ledger;
            }
            assert!(started.elapsed() < WAIT_LIMIT, "still {ledger:#?}");
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
