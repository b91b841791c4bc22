//! What the store on SQLite does beyond the contract.

use std::time::Duration;

use clap::{Args, Command, FromArgMatches};
use common::settings::Settings;
use model::{Layout, Name, Row, Timestamp};
use store::{History, RowsAtFault, SqliteHistory, SqliteSettings, Store, WriteError};

use crate::fixture::{Fixture, OnSqlite, row, rows_of, seconds, tagged, tool};

#[tokio::test]
async fn the_view_rows_can_be_queried() {
    let fixture = OnSqlite::of(Layout::Rigs);
    let mut first = row("R", 1, &[("temp", 1.5), ("select", 2.5), ("tick", 3.5)]);
    first.timestamp = Timestamp::from_nanos(-1);
    let rows = [
        first,
        row("R", 1_762_093_293, &[("Temp", 4.5), ("a.b-c", 5.5)]),
    ];
    fixture.store.write(&rows).await.unwrap();
    let tool = tool(&fixture.path());
    let columns: Vec<String> = tool
        .prepare("SELECT * FROM rows")
        .unwrap()
        .column_names()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        columns,
        [
            "rig_id", "time", "tick", "temp", "select", "tick (3)", "Temp (4)", "a.b-c"
        ]
    );
    let sql = "SELECT time, temp, \"tick (3)\", \"Temp (4)\", \"a.b-c\" FROM rows
        WHERE rig_id = 'R' ORDER BY tick";
    let mut select = tool.prepare(sql).unwrap();
    let read: Vec<(String, [Option<f64>; 4])> = select
        .query_map([], |row| {
            let values = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
            Ok((row.get(0)?, values))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(
        read,
        [
            (
                "1969-12-31T23:59:59.999999999Z".to_owned(),
                [Some(1.5), Some(3.5), None, None]
            ),
            (
                "2025-11-02T14:21:33Z".to_owned(),
                [None, None, Some(4.5), Some(5.5)]
            ),
        ]
    );
    fixture.check();
}

#[tokio::test]
async fn field_above_the_limit_is_refused_and_the_others_are_stored() {
    let fixture = OnSqlite::of(Layout::Rigs);
    let wide = |fields: std::ops::Range<u32>| {
        let mut row = Row::of_rig(Name::new("R").unwrap(), seconds(1));
        for field in fields {
            let name = Name::new(format!("s{field}")).unwrap();
            row.fields.push((name, f64::from(field).into()));
        }
        row
    };
    let store = &fixture.store;
    store.write(&[wide(0..600)]).await.unwrap();
    let many = store.write(&[wide(0..1), wide(600..1_001)]).await;
    match many {
        Err(WriteError::Rejected { detail, .. }) => {
            assert!(detail.starts_with("row 2 of 2: "), "{detail}");
            assert!(
                detail.contains("\"s1000\"") && detail.contains("1000"),
                "{detail}"
            );
        }
        other => panic!("{other:?}"),
    }
    store.preflight().await.unwrap();
    store.write(&[wide(600..1_000)]).await.unwrap();
    // Writes that wait together share a transaction; the one that can't be stored is alone in it.
    let (too_many, good) = ([wide(1_000..1_001)], [row("S", 1, &[("s7", 1.0)])]);
    let answers = tokio::join!(
        store.write(&good),
        store.write(&too_many),
        store.write(&good),
        store.write(&too_many),
        store.write(&good),
    );
    for answer in [answers.0, answers.2, answers.4] {
        answer.unwrap();
    }
    for answer in [answers.1, answers.3] {
        assert!(
            matches!(answer, Err(WriteError::Rejected { .. })),
            "{answer:?}"
        );
    }
    assert_eq!(rows_of(&fixture.history, "R").await[0].fields.len(), 1_000);
    assert_eq!(fixture.history.latest("R").await.unwrap().len(), 1_000);
    let sum: f64 = tool(&fixture.path())
        .query_row("SELECT sum(s999) FROM rows", [], |row| row.get(0))
        .unwrap();
    assert!((sum - 999.0).abs() < 1e-9);
    fixture.check();
}

#[tokio::test]
async fn rows_of_many_shapes_are_stored() {
    let fixture = OnSqlite::of(Layout::Rigs);
    let names: Vec<String> = (0..12).map(|number| format!("s{number}")).collect();
    // More sets of fields than are remembered.
    let rows: Vec<Row<'_>> = (1_u16..3_000)
        .map(|set| {
            let mut row = Row::of_rig(Name::new("R").unwrap(), seconds(i64::from(set) * 1_000));
            for (place, name) in names.iter().enumerate() {
                if set & (1 << place) != 0 {
                    row.fields
                        .push((Name::new(name).unwrap(), f64::from(set).into()));
                }
            }
            row
        })
        .collect();
    for rows in rows.chunks(700) {
        fixture.store.write(rows).await.unwrap();
    }
    let mut read = rows_of(&fixture.history, "R").await;
    for (read, mut written) in read.iter_mut().zip(rows) {
        written.fields.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(*read, written);
    }
    fixture.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_reader_sees_whole_batches_while_they_are_written() {
    const BATCH: usize = 50;
    let fixture = OnSqlite::of(Layout::Rigs);
    let first = row("R", -1, &[("a", 0.5)]);
    fixture.store.write(&[first]).await.unwrap();
    let reader = SqliteHistory::open_read_only(&fixture.path()).unwrap();
    let writing = {
        let store = fixture.store.clone();
        tokio::spawn(async move {
            for batch in 0..100 {
                let rows: Vec<_> = (0..50)
                    .map(|second| row("R", batch * 50 + second, &[("a", 0.5)]))
                    .collect();
                store.write(&rows).await.unwrap();
            }
        })
    };
    let mut before = 0;
    while !writing.is_finished() {
        let read = rows_of(&reader, "R").await.len() - 1;
        // Pages are read one after the other: what is written between them is seen or not.
        if read < 900 {
            assert_eq!(read % BATCH, 0);
        }
        assert!(read >= before);
        before = read;
    }
    writing.await.unwrap();
    assert_eq!(rows_of(&reader, "R").await.len(), 5_001);
    fixture.check();
}

#[tokio::test]
async fn dropped_write_leaves_the_store_usable() {
    let fixture = OnSqlite::of(Layout::Rigs);
    for second in 0..200 {
        let rows = [row("R", second, &[("a", 0.5)])];
        let write = fixture.store.write(&rows);
        let _ = tokio::time::timeout(Duration::ZERO, write).await;
    }
    fixture
        .store
        .write(&[row("R", 0, &[("a", 1.5)])])
        .await
        .unwrap();
    let rows = rows_of(&fixture.history, "R").await;
    assert_eq!(rows[0], row("R", 0, &[("a", 1.5)]));
    fixture.check();
}

#[tokio::test]
async fn history_outlives_its_store() {
    let fixture = OnSqlite::of(Layout::Rigs);
    let rows = [row("R", 1, &[("a", 0.5)])];
    fixture.store.write(&rows).await.unwrap();
    let OnSqlite {
        store,
        history,
        dir,
    } = fixture;
    drop(store);
    assert_eq!(rows_of(&history, "R").await, rows);
    drop(history);
    drop(dir);
}

#[test]
fn rows_are_kept_for_thirty_days_by_default() {
    let command = SqliteSettings::augment_args(Command::new("up"));
    let given = |words: &[&str]| {
        let matches = command.clone().try_get_matches_from(words).ok()?;
        SqliteSettings::from_arg_matches(&matches).ok()
    };
    let mut settings = given(&["up"]).unwrap();
    assert_eq!(settings.retention, Duration::from_hours(30 * 24));
    settings.check().unwrap();
    for (text, good) in [("0", true), ("1h", true), ("59m", false), ("36500d", true)] {
        let mut settings = given(&["up", "--retention", text]).unwrap();
        assert_eq!(settings.check().is_ok(), good, "{text}");
    }
    assert!(given(&["up", "--retention", "soon"]).is_none());
}

#[tokio::test]
async fn row_of_something_else_than_a_rig_is_named() {
    let fixture = OnSqlite::of(Layout::Rigs);
    let with = |tags: &[(&str, &str)]| tagged(tags, 1, &[("a", 1.0.into())]);
    for (bad, words) in [
        (with(&[]), "no tag rig_id"),
        (with(&[("device", "R")]), "\"device\""),
        (with(&[("rig_id", "R"), ("site", "S")]), "\"site\""),
        (with(&[("rig_id", "R"), ("rig_id", "S")]), "\"rig_id\""),
        (with(&[("rig_id", "a b")]), "\"a b\" has ' '"),
        (with(&[("rig_id", "{}")]), "has '{'"),
    ] {
        let batch = [row("R", 1, &[("a", 1.0)]), bad, row("R", 2, &[("a", 1.0)])];
        match fixture.store.write(&batch).await {
            Err(WriteError::Rejected { detail, at_fault }) => {
                assert!(detail.starts_with("row 2 of 3: "), "{detail}");
                assert!(detail.contains(words), "{detail}");
                assert_eq!(at_fault, RowsAtFault::Some);
            }
            other => panic!("{:?}: {other:?}", batch[1]),
        }
    }
    assert_eq!(rows_of(&fixture.history, "R").await, []);
}
