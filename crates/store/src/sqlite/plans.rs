//! No statement reads all rows: its cost would grow with the time that a store has been kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use model::{Layout, Name, Row, Timestamp};
use rusqlite::Connection;
use sqlite::Worker;
use sqlite::testing::{Statements, plan, record};
use tempfile::TempDir;

use super::memory::Memory;
use super::retention::Sweep;
use super::schema::STORE;
use super::writer::Writer;
use super::{SqliteHistory, SqliteStore};
use crate::history::Selection;
use crate::{History, Store};

/// Tables whose size depends on the numbers of series, fields and tags only.
const SMALL: [&str; 5] = ["series", "field", "newest", "tag", "sqlite_schema"];
/// Other statements have no plan.
const PLANNED: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];

/// The steps of a statement that read a whole table.
fn scans(connection: &Connection, sql: &str) -> Vec<String> {
    let reads_all = |step: &String| {
        // For a maximum, SQLite says `SEARCH row` even if it reads all of them: only a constraint on the
        // key bounds a search.
        let mut words = step.split(' ');
        let (verb, table) = (words.next(), words.next().unwrap_or_default());
        let is_bounded = verb == Some("SEARCH") && step.contains('(');
        let reads = matches!(verb, Some("SCAN" | "SEARCH")) && table != "CONSTANT";
        reads && !is_bounded && !SMALL.contains(&table)
    };
    let steps = plan(connection, sql).into_iter();
    steps.filter(reads_all).collect()
}

#[tokio::test]
async fn no_statement_reads_all_rows() {
    for layout in [Layout::Rigs, Layout::Tagged] {
        check_statements(layout).await;
    }
}

async fn check_statements(layout: Layout) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store.db");
    let statements = Statements::default();
    run_every_call(&path, layout, &statements).await;
    let connection = STORE.open_read_only(&path).unwrap();
    let statements = statements.lock().unwrap();
    let planned: Vec<_> = statements
        .iter()
        .filter(|sql| {
            PLANNED
                .iter()
                .any(|verb| sql.trim_start().starts_with(verb))
        })
        .collect();
    assert!(planned.len() >= 20, "{planned:#?}");
    for sql in planned {
        assert_eq!(scans(&connection, sql), Vec::<String>::new(), "{sql}");
    }
    for (whole, step) in [
        ("SELECT max(tick) FROM row", "SEARCH row USING PRIMARY KEY"),
        ("SELECT tick FROM row WHERE tick > 7", "SCAN row"),
    ] {
        assert_eq!(scans(&connection, whole), [step], "the test can fail");
    }
}

fn row(rig: &'static str, tick: Timestamp, fields: &[&'static str]) -> Row<'static> {
    let mut row = Row::of_rig(Name::new(rig).unwrap(), tick);
    let fields = fields.iter();
    row.fields = fields
        .map(|name| (Name::new(*name).unwrap(), 1.5.into()))
        .collect();
    row
}

async fn run_every_call(path: &Path, layout: Layout, statements: &Statements) {
    let mut connection = STORE.open(path).unwrap();
    record(&mut connection, statements);
    let kept_for_ever = Sweep::new(Duration::ZERO, Clock::system());
    let writer = Writer::new(connection, path, layout, kept_for_ever);
    let worker = Worker::start("writer", move |jobs| writer.run(&jobs)).unwrap();
    let mut connection = STORE.open_read_only(path).unwrap();
    record(&mut connection, statements);
    let store = SqliteStore {
        history: SqliteHistory::on(connection, path).unwrap(),
        writer: Arc::new(worker),
        layout,
    };
    let now = Clock::system().now();
    let old = now.minus(Duration::from_hours(3));
    let rows = [
        row("gone", old, &["a"]),
        row("kept", old, &["b"]),
        row("kept", now, &["a"]),
    ];
    store.write(&rows).await.unwrap();
    // A value of another type, which is refused only if the field has values.
    let mut other = row("kept", now, &["a"]);
    other.fields[0].1 = model::Value::Bool(true);
    store.write(&[other]).await.unwrap_err();
    store.preflight().await.unwrap();
    let history = store.history();
    assert_eq!(history.series().await.unwrap().len(), 2);
    let kept = layout.series_key(&rows[1].tags);
    for series in [None, Some(&*kept)] {
        assert_eq!(history.fields(series).await.unwrap(), ["a", "b"]);
    }
    assert_eq!(history.latest(&kept).await.unwrap().len(), 2);
    assert_eq!(history.latest_of_all().await.unwrap().len(), 2);
    let all = Selection {
        series: &kept,
        fields: &[],
        from: old,
        to: now.plus(Duration::from_secs(1)),
    };
    assert_eq!(history.range(all, 10).await.unwrap().rows.len(), 2);
    assert_eq!(history.newest(all, 10).await.unwrap().rows.len(), 2);
    let buckets = history.buckets(all, Duration::from_hours(1)).await;
    assert_eq!(buckets.unwrap().len(), 2);
    assert_eq!(history.statistics(all).await.unwrap().len(), 2);

    let mut connection = STORE.open(path).unwrap();
    record(&mut connection, statements);
    let mut sweep = Sweep::new(Duration::from_hours(1), Clock::system());
    sweep.step_if_due(&connection, path, &mut Memory::new(layout));
    assert_eq!(history.series().await.unwrap().len(), 1);
    assert_eq!(history.fields(None).await.unwrap(), ["a"]);
}
