//! Stores on real backends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::clock::Clock;
use model::{Name, Row, SensorName, Timestamp};
use rusqlite::{Connection, OpenFlags};
use store::history::Selection;
use store::{History, SqliteHistory, SqliteSettings, SqliteStore, Store};
use tempfile::TempDir;

/// A backend that the contract suite runs on.
pub(crate) trait Fixture {
    type Kept: Store;
    type Read: History;
    fn start() -> Self;
    fn store(&self) -> &Self::Kept;
    fn history(&self) -> &Self::Read;
    /// Whether the store is whole, by its own means.
    fn check(&self);
}

pub(crate) struct OnSqlite {
    pub(crate) store: SqliteStore,
    pub(crate) history: SqliteHistory,
    pub(crate) dir: TempDir,
}

impl OnSqlite {
    pub(crate) fn path(&self) -> PathBuf {
        path_in(self.dir.path())
    }
}

impl Fixture for OnSqlite {
    type Kept = SqliteStore;
    type Read = SqliteHistory;

    fn start() -> Self {
        let dir = TempDir::with_prefix("store-").unwrap();
        let store = open(dir.path());
        let history = store.history();
        Self {
            store,
            history,
            dir,
        }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    fn history(&self) -> &SqliteHistory {
        &self.history
    }

    fn check(&self) {
        check(&self.path());
    }
}

pub(crate) fn path_in(dir: &Path) -> PathBuf {
    dir.join("store.db")
}

/// A store that keeps everything.
pub(crate) fn open(dir: &Path) -> SqliteStore {
    open_with(dir, Duration::ZERO, Clock::system())
}

pub(crate) fn open_with(dir: &Path, retention: Duration, clock: Clock) -> SqliteStore {
    SqliteStore::open(&path_in(dir), &SqliteSettings { retention }, clock).unwrap()
}

/// A hand in the file, as the `sqlite3` tool's is.
pub(crate) fn tool(path: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).unwrap()
}

/// The file is whole, and `newest` is right for the rows.
pub(crate) fn check(path: &Path) {
    let tool = tool(path);
    let said: String = tool
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(said, "ok");
    let mut select = tool.prepare("SELECT id FROM sensor").unwrap();
    let sensors: Vec<i64> = select
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for id in sensors {
        let hour = "3600000000000";
        let sql = format!(
            "SELECT count(*) FROM (SELECT rig, max(tick / {hour} - (tick % {hour} < 0)) AS hour
                FROM row WHERE v{id} IS NOT NULL GROUP BY rig) AS real
             FULL JOIN (SELECT * FROM newest WHERE sensor = {id}) AS noted
                ON real.rig = noted.rig WHERE real.hour IS NOT noted.hour"
        );
        let wrong: i64 = tool.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(wrong, 0, "newest hours of sensor {id}");
    }
    let strays = "SELECT (SELECT count(*) FROM row WHERE rig NOT IN (SELECT id FROM rig)) +
        (SELECT count(*) FROM rig WHERE id NOT IN (SELECT rig FROM row))";
    let strays: i64 = tool.query_row(strays, [], |row| row.get(0)).unwrap();
    assert_eq!(strays, 0, "rows without a rig, or rigs without rows");
}

pub(crate) fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// A row at a second since 1970.
pub(crate) fn row(rig: &str, second: i64, fields: &[(&'static str, f64)]) -> Row<'static> {
    let mut row = Row::of_rig(Name::new(rig.to_owned()).unwrap(), seconds(second));
    row.fields = fields
        .iter()
        .map(|(name, value)| (SensorName::new(*name).unwrap(), *value))
        .collect();
    row
}

/// All that can be asked for of a rig, but for a row in the last nanosecond.
pub(crate) fn all(rig: &str) -> Selection<'_> {
    Selection {
        rig,
        sensors: &[],
        from: Timestamp::from_nanos(i64::MIN),
        to: Timestamp::from_nanos(i64::MAX),
    }
}

/// Everything of a rig, by pages.
pub(crate) async fn rows_of<H: History>(history: &H, rig: &str) -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    let mut of = all(rig);
    loop {
        let page = history.range(of, 1_000).await.unwrap();
        rows.extend(page.rows);
        match page.next {
            Some(next) => of.from = next,
            None => return rows,
        }
    }
}

pub(crate) async fn names<H: History>(history: &H) -> Vec<String> {
    let rigs = history.rigs().await.unwrap();
    rigs.into_iter().map(|rig| rig.name).collect()
}
