//! Files of Rigline 0.1.0.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Layout, Row, Timestamp, Value};
use rusqlite::Connection;
use store::history::SeriesSpan;
use store::{History, OpenError, RowsAtFault, SqliteHistory, Store, WriteError};
use tempfile::TempDir;

use crate::fixture::{all, check, exact, open, open_as, path_in, row, rows_of, tagged, tags, tool};

const VERSION_1: &str = include_str!("version_1.sql");
const TICK: i64 = 1_762_093_293_000_000_000;

/// Makes a file of version 1.
fn old_file(dir: &Path) -> PathBuf {
    let path = path_in(dir);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    path
}

fn at(nanos: i64, row: Row<'static>) -> Row<'static> {
    Row {
        timestamp: Timestamp::from_nanos(nanos),
        ..row
    }
}

fn shown(rows: &[Row<'_>]) -> Vec<(i64, Vec<(String, String)>)> {
    let fields = |row: &Row<'_>| {
        let fields = row.fields.iter();
        fields
            .map(|(name, value)| (name.to_string(), exact(value)))
            .collect()
    };
    rows.iter()
        .map(|row| (row.timestamp.nanos(), fields(row)))
        .collect()
}

/// The rows of the file, by rig.
fn old_rows() -> [(&'static str, Vec<Row<'static>>); 2] {
    let of =
        |nanos, rig: &'static str, fields: &[(&'static str, f64)]| at(nanos, row(rig, 0, fields));
    let first = [("Temp", -0.0), ("flow.rate", 5e-324), ("temp", 1.5)];
    let capital = vec![
        of(-1, "RIG-1", &first),
        of(TICK, "RIG-1", &[("temp", 0.1 + 0.2)]),
        of(TICK + 1_000_000_000, "RIG-1", &[("flow.rate", 14.0)]),
    ];
    let small = [("temp", 78.0), ("tick", f64::MAX)];
    [
        ("RIG-1", capital),
        ("rig-1", vec![of(TICK + 1, "rig-1", &small)]),
    ]
}

/// Everything that the history gives of the file.
async fn assert_old_rows(history: &SqliteHistory) {
    let [(_, capital), (_, small)] = old_rows();
    let span = |rig: &str, rows: &[Row<'_>]| SeriesSpan {
        key: rig.to_owned(),
        tags: tags(&[("rig_id", rig)]),
        first: rows[0].timestamp,
        last: rows[rows.len() - 1].timestamp,
    };
    assert_eq!(
        history.series().await.unwrap(),
        [span("RIG-1", &capital), span("rig-1", &small)]
    );
    for (rig, rows) in old_rows() {
        let read = rows_of(history, rig).await;
        assert_eq!(read, rows);
        assert_eq!(shown(&read), shown(&rows));
    }
    let fields = ["Temp", "flow.rate", "temp", "tick"];
    assert_eq!(history.fields(None).await.unwrap(), fields);
    assert_eq!(
        history.fields(Some("rig-1")).await.unwrap(),
        ["temp", "tick"]
    );
    let latest = history.latest("RIG-1").await.unwrap();
    let latest: Vec<_> = latest
        .iter()
        .map(|it| (it.field.as_str(), exact(&it.value)))
        .collect();
    let float = |value: f64| exact(&value.into());
    assert_eq!(
        latest,
        [
            ("Temp", float(-0.0)),
            ("flow.rate", float(14.0)),
            ("temp", float(0.1 + 0.2)),
        ]
    );
    let century = Duration::from_hours(24 * 36_525);
    let found = history.buckets(all("rig-1"), century).await.unwrap();
    assert_eq!((found.len(), found[0].buckets[0].max), (2, 78.0));
}

#[tokio::test]
async fn file_of_version_1_is_migrated_and_reads_the_same() {
    let dir = TempDir::new().unwrap();
    let path = old_file(dir.path());
    let store = open(dir.path());
    // Also before anything is written, and after it is opened again.
    assert_old_rows(&store.history()).await;
    check(&path);
    drop(store);
    assert_old_rows(&SqliteHistory::open_read_only(&path).unwrap()).await;
    let store = open(dir.path());
    assert_old_rows(&store.history()).await;

    // Its values can be merged and overwritten, and its fields are floats.
    let more = [
        at(TICK, row("RIG-1", 0, &[("Temp", 7.0), ("new", 8.0)])),
        at(TICK, row("RIG-2", 0, &[("temp", 9.0)])),
    ];
    store.write(&more).await.unwrap();
    let history = store.history();
    let fields = [("Temp", 7.0), ("new", 8.0), ("temp", 0.1 + 0.2)];
    let merged = at(TICK, row("RIG-1", 0, &fields));
    assert_eq!(rows_of(&history, "RIG-1").await[1], merged);
    assert_eq!(rows_of(&history, "RIG-2").await, more[1..]);
    let other = tagged(&[("rig_id", "RIG-1")], 1, &[("temp", Value::Integer(1))]);
    match store.write(&[other]).await {
        Err(WriteError::Rejected { detail, at_fault }) => {
            let words = "\"temp\" is of type integer, but already exists as type float";
            assert!(detail.contains(words), "{detail}");
            assert_eq!(at_fault, RowsAtFault::Some);
        }
        answer => panic!("{answer:?}"),
    }
    check(&path);
}

#[tokio::test]
async fn ids_of_rigs_that_have_gone_are_not_given_again() {
    let dir = TempDir::new().unwrap();
    let path = old_file(dir.path());
    tool(&path)
        .execute_batch("DELETE FROM row WHERE rig = 3; DELETE FROM newest WHERE rig = 3; DELETE FROM rig WHERE id = 3")
        .unwrap();
    let store = open(dir.path());
    store
        .write(&[row("next", 1, &[("temp", 1.0)])])
        .await
        .unwrap();
    let id: i64 = tool(&path)
        .query_row("SELECT id FROM series WHERE key = 'next'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(id, 4);
    check(&path);
}

#[test]
fn view_of_a_migrated_file_shows_the_same() {
    let dir = TempDir::new().unwrap();
    let path = old_file(dir.path());
    let read = || {
        let tool = tool(&path);
        let mut select = tool
            .prepare("SELECT * FROM rows ORDER BY rig_id, tick")
            .unwrap();
        let columns = select.column_names();
        let columns: Vec<_> = columns.map(str::to_owned).collect();
        let rows = select.query_map([], |row| {
            (0..columns.len())
                .map(|index| row.get_ref(index).map(|value| format!("{value:?}")))
                .collect::<rusqlite::Result<Vec<String>>>()
        });
        let rows: Vec<_> = rows.unwrap().collect::<Result<_, _>>().unwrap();
        (columns, rows)
    };
    let before = read();
    assert_eq!((before.0.len(), before.1.len()), (8, 4));
    drop(open(dir.path()));
    assert_eq!(read(), before);
}

#[test]
fn views_of_users_outlive_the_migration() {
    let dir = TempDir::new().unwrap();
    let path = old_file(dir.path());
    let views = "CREATE VIEW warm AS SELECT rig_id, temp FROM rows WHERE temp > 20;
        CREATE VIEW names AS SELECT rig.name || '/' || sensor.name AS name FROM rig, sensor;";
    tool(&path).execute_batch(views).unwrap();
    drop(open(dir.path()));
    let read = |sql: &str| tool(&path).query_row(sql, [], |row| row.get::<_, String>(0));
    assert_eq!(read("SELECT rig_id FROM warm").unwrap(), "rig-1");
    assert_eq!(read("SELECT min(name) FROM names").unwrap(), "RIG-1/Temp");
}

#[tokio::test]
async fn old_file_is_not_read_before_it_is_migrated() {
    let dir = TempDir::new().unwrap();
    let path = old_file(dir.path());
    let before = fs::read(&path).unwrap();
    let error = SqliteHistory::open_read_only(&path).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Older {
                found: 1,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
    let words = error.to_string();
    assert!(words.contains("start the pipeline on it once"), "{words}");
    assert_eq!(fs::read(&path).unwrap(), before, "it isn't touched");
}

#[tokio::test]
async fn old_file_is_for_rigs_only() {
    let dir = TempDir::new().unwrap();
    let path = old_file(dir.path());
    let error = open_as(&path, Layout::Tagged).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it holds rows of the pipeline rigs"),
        "{error}"
    );
    assert_old_rows(&open(dir.path()).history()).await;
}

#[test]
fn several_processes_may_migrate_at_once() {
    for _ in 0..5 {
        let dir = TempDir::new().unwrap();
        let path = old_file(dir.path());
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..4).map(|_| scope.spawn(|| open(dir.path()))).collect();
            for opened in opening {
                drop(opened.join().unwrap());
            }
        });
        check(&path);
    }
}
