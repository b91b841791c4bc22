//! Stores on real backends, and rows for them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::clock::Clock;
use model::{Layout, Name, Row, Tags, Timestamp, Value};
use rusqlite::{Connection, OpenFlags};
use store::history::Selection;
use store::{History, SqliteHistory, SqliteSettings, SqliteStore, Store};
use tempfile::TempDir;

mod by_rig;
mod influx;
#[cfg(feature = "mongodb")]
pub(crate) mod mongodb;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;

pub(crate) use by_rig::OnTagged;
pub(crate) use influx::{OnInflux, OnInfluxOfRigs};
#[cfg(feature = "mongodb")]
pub(crate) use mongodb::{OnMongo, OnMongoOfRigs};
#[cfg(feature = "postgres")]
pub(crate) use postgres::{OnPostgres, OnPostgresOfRigs};

use crate::writes::STRANGE;

/// A backend that the contract suite of histories runs on.
pub(crate) trait Fixture {
    type Kept: Store;
    type Read: History;
    /// What the times of rows have to be rounded to; zero if nothing.
    const PRECISION: Duration = Duration::ZERO;
    /// The value that comes back of one that is written.
    fn kept(value: Value) -> Value {
        value
    }
    /// Most bytes of the name of a field.
    const MAX_FIELD: usize = 256;
    fn start() -> Self;
    fn store(&self) -> &Self::Kept;
    fn history(&self) -> &Self::Read;
    /// Whether the store is whole, by its own means.
    fn check(&self);
}

/// A backend that the contract suite of writes runs on.
pub(crate) trait Written: Sized {
    type Kept: Store;
    type Read: History + Clone;
    /// What the times of rows have to be rounded to; zero if nothing.
    const PRECISION: Duration = Duration::ZERO;
    /// The value that comes back of one that is written.
    fn kept(value: Value) -> Value {
        value
    }
    /// Whether the store can hold a value.
    fn holds(_: &Value) -> bool {
        true
    }
    /// Names that tags and fields may have.
    fn names() -> Vec<String> {
        let long = "\u{e9}".repeat(128);
        let names = STRANGE.iter().map(|name| (*name).to_owned());
        names.chain([long]).collect()
    }
    /// Most bytes of the name of a field.
    const MAX_FIELD: usize = 256;
    /// An empty store for rows with any tags.
    fn start() -> Self;
    /// Another one beside it, as another pipeline has.
    fn beside(&self) -> Self;
    fn store(&self) -> &Self::Kept;
    fn history(&self) -> &Self::Read;
    /// All rows, ordered by tags and time, with their fields ordered by name, by other means than the history
    /// where there are.
    async fn rows(&self) -> Vec<Row<'static>>;
    /// Whether the store is whole, by its own means.
    fn check(&self);
}

pub(crate) struct OnSqlite {
    pub(crate) store: SqliteStore,
    pub(crate) history: SqliteHistory,
    pub(crate) dir: TempDir,
}

impl OnSqlite {
    /// A store of this layout.
    pub(crate) fn of(layout: Layout) -> Self {
        let dir = TempDir::with_prefix("store-").unwrap();
        let store = open_as(&path_in(dir.path()), layout).unwrap();
        let history = store.history();
        Self {
            store,
            history,
            dir,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        path_in(self.dir.path())
    }
}

impl Fixture for OnSqlite {
    type Kept = SqliteStore;
    type Read = SqliteHistory;

    fn start() -> Self {
        Self::of(Layout::Rigs)
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

impl Written for OnSqlite {
    type Kept = SqliteStore;
    type Read = SqliteHistory;

    fn start() -> Self {
        Self::of(Layout::Tagged)
    }

    fn beside(&self) -> Self {
        Self::of(Layout::Tagged)
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    fn history(&self) -> &SqliteHistory {
        &self.history
    }

    async fn rows(&self) -> Vec<Row<'static>> {
        all_rows(&self.history).await
    }

    fn check(&self) {
        check(&self.path());
    }
}

pub(crate) fn path_in(dir: &Path) -> PathBuf {
    dir.join("store.db")
}

/// A store of rigs that keeps everything.
pub(crate) fn open(dir: &Path) -> SqliteStore {
    open_with(dir, Duration::ZERO, Clock::system())
}

pub(crate) fn open_with(dir: &Path, retention: Duration, clock: Clock) -> SqliteStore {
    let settings = SqliteSettings { retention };
    SqliteStore::open(&path_in(dir), &settings, Layout::Rigs, clock).unwrap()
}

/// Opens a file that keeps everything.
pub(crate) fn open_as(path: &Path, layout: Layout) -> Result<SqliteStore, store::OpenError> {
    let settings = SqliteSettings {
        retention: Duration::ZERO,
    };
    SqliteStore::open(path, &settings, layout, Clock::system())
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
    let mut select = tool.prepare("SELECT id FROM field").unwrap();
    let fields: Vec<i64> = select
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for id in fields {
        let hour = "3600000000000";
        let sql = format!(
            "SELECT count(*) FROM (SELECT series, max(tick / {hour} - (tick % {hour} < 0)) AS hour
                FROM row WHERE v{id} IS NOT NULL GROUP BY series) AS real
             FULL JOIN (SELECT * FROM newest WHERE field = {id}) AS noted
                ON real.series = noted.series WHERE real.hour IS NOT noted.hour"
        );
        let wrong: i64 = tool.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(wrong, 0, "newest hours of field {id}");
        let sql = format!(
            "SELECT count(*) FROM row, field WHERE field.id = {id} AND v{id} IS NOT NULL
                AND typeof(v{id}) != CASE type WHEN 'float' THEN 'real' WHEN 'string' THEN 'text'
                    ELSE 'integer' END"
        );
        let wrong: i64 = tool.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(wrong, 0, "types of the values of field {id}");
    }
    let strays = "SELECT (SELECT count(*) FROM row WHERE series NOT IN (SELECT id FROM series)) +
        (SELECT count(*) FROM series WHERE id NOT IN (SELECT series FROM row))";
    let strays: i64 = tool.query_row(strays, [], |row| row.get(0)).unwrap();
    assert_eq!(strays, 0, "rows without a series, or series without rows");
    // The view can be read.
    let shown: i64 = tool
        .query_row("SELECT count(*) FROM rows", [], |row| row.get(0))
        .unwrap();
    let rows: i64 = tool
        .query_row("SELECT count(*) FROM row", [], |row| row.get(0))
        .unwrap();
    assert_eq!(shown, rows);
}

pub(crate) fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// A row of a rig at a second since 1970.
pub(crate) fn row(rig: &str, second: i64, fields: &[(&'static str, f64)]) -> Row<'static> {
    let mut row = Row::of_rig(Name::new(rig.to_owned()).unwrap(), seconds(second));
    row.fields = fields
        .iter()
        .map(|(name, value)| (Name::new(*name).unwrap(), (*value).into()))
        .collect();
    row
}

/// Tags in the order of their names.
pub(crate) fn tags(tags: &[(&str, &str)]) -> Tags<'static> {
    let name = |text: &str| Name::new(text.to_owned()).unwrap();
    let tags = tags.iter();
    let mut tags: Tags<'static> = tags.map(|(tag, value)| (name(tag), name(value))).collect();
    tags.sort();
    tags
}

/// A row with any tags at a second since 1970.
pub(crate) fn tagged(of: &[(&str, &str)], second: i64, fields: &[(&str, Value)]) -> Row<'static> {
    let fields = fields.iter();
    Row {
        tags: tags(of),
        timestamp: seconds(second),
        fields: fields
            .map(|(name, value)| (Name::new((*name).to_owned()).unwrap(), value.clone()))
            .collect(),
    }
}

pub(crate) fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// Orders rows by tags and time, and their fields by name.
pub(crate) fn sort(rows: &mut [Row<'_>]) {
    for row in &mut *rows {
        row.fields.sort_by(|one, other| one.0.cmp(&other.0));
    }
    rows.sort_by(|one, other| {
        let key = (&one.tags, one.timestamp);
        key.cmp(&(&other.tags, other.timestamp))
    });
}

/// All that can be asked for of a series, but for a row in the last nanosecond.
pub(crate) fn all(series: &str) -> Selection<'_> {
    Selection {
        series,
        fields: &[],
        from: Timestamp::from_nanos(i64::MIN),
        to: Timestamp::from_nanos(i64::MAX),
    }
}

/// Everything of a series, by pages.
pub(crate) async fn rows_of<H: History>(history: &H, series: &str) -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    let mut of = all(series);
    loop {
        let page = history.range(of, 1_000).await.unwrap();
        rows.extend(page.rows);
        match page.next {
            Some(next) => of.from = next,
            None => return rows,
        }
    }
}

/// The rows of all series, ordered by tags and time.
pub(crate) async fn all_rows<H: History>(history: &H) -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    for series in history.series().await.unwrap() {
        rows.extend(rows_of(history, &series.key).await);
    }
    sort(&mut rows);
    rows
}

/// The keys of all series.
pub(crate) async fn keys<H: History>(history: &H) -> Vec<String> {
    let series = history.series().await.unwrap();
    series.into_iter().map(|series| series.key).collect()
}

/// The bits of a float; other values as they are.
pub(crate) fn exact(value: &Value) -> String {
    match value {
        Value::Float(value) => format!("float {:x}", value.to_bits()),
        other => format!("{other:?}"),
    }
}
