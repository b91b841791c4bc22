//! The store on SQLite for rows with any tags.

use model::{Layout, Row, Value};
use rusqlite::types::Value as Sql;
use store::{History, ReadError, RowsAtFault, SqliteHistory, Store, WriteError};
use tempfile::TempDir;

use crate::fixture::{OnSqlite, check, keys, open_as, path_in, row, rows_of, string, tagged, tool};

fn float(value: f64) -> Value {
    Value::Float(value)
}

fn started() -> OnSqlite {
    OnSqlite::of(Layout::Tagged)
}

/// The columns of the view, and its rows by tick.
fn shown(fixture: &OnSqlite) -> (Vec<String>, Vec<Vec<Sql>>) {
    let tool = tool(&fixture.path());
    let mut select = tool.prepare("SELECT * FROM rows ORDER BY tick").unwrap();
    let columns = select.column_names();
    let columns: Vec<_> = columns.map(str::to_owned).collect();
    let rows = select.query_map([], |row| (0..columns.len()).map(|at| row.get(at)).collect());
    let rows = rows.unwrap().collect::<Result<_, _>>().unwrap();
    (columns, rows)
}

fn texts(texts: &[&str]) -> Vec<Sql> {
    texts
        .iter()
        .map(|text| Sql::Text((*text).to_owned()))
        .collect()
}

#[tokio::test]
async fn reader_that_does_not_know_the_layout_sees_the_same() {
    let fixture = started();
    let rows = [
        tagged(&[("device", "D")], 1, &[("f", float(1.0))]),
        tagged(&[], 2, &[("f", float(2.0))]),
    ];
    fixture.store.write(&rows).await.unwrap();
    let reader = SqliteHistory::open_read_only(&fixture.path()).unwrap();
    assert_eq!(keys(&reader).await, ["{\"device\":\"D\"}", "{}"]);
    assert_eq!(rows_of(&reader, "{}").await, rows[1..]);
    check(&fixture.path());
}

#[tokio::test]
async fn unordered_tags_are_refused() {
    let fixture = started();
    let good = tagged(&[("a", "x"), ("b", "y")], 1, &[("f", float(1.0))]);
    let mut swapped = good.clone();
    swapped.tags.reverse();
    let mut twice = good.clone();
    twice.tags[1].0 = twice.tags[0].0.clone();
    for bad in [swapped, twice] {
        match fixture.store.write(&[good.clone(), bad]).await {
            Err(WriteError::Rejected { detail, at_fault }) => {
                assert!(detail.starts_with("row 2 of 2: its tags"), "{detail}");
                assert_eq!(at_fault, RowsAtFault::Some);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn view_has_a_column_for_each_tag_and_each_field() {
    let fixture = started();
    let rows = [
        tagged(
            &[("device", "D"), ("time", "noon")],
            1,
            &[("ok", Value::Bool(true)), ("Device", float(0.5))],
        ),
        tagged(
            &[("site", "S")],
            2,
            &[("n", Value::Integer(7)), ("device", float(1.5))],
        ),
        tagged(
            &[],
            3,
            &[("text", string("a 'b'")), ("ok", Value::Bool(false))],
        ),
    ];
    for row in rows {
        fixture.store.write(&[row]).await.unwrap();
    }
    let (columns, rows) = shown(&fixture);
    assert_eq!(
        columns,
        [
            "device",
            "time (2)",
            "site",
            "time",
            "tick",
            "ok",
            "Device (2)",
            "n",
            "device (4)",
            "text",
        ]
    );
    let expected = [
        (
            vec![Sql::Text("D".into()), Sql::Text("noon".into()), Sql::Null],
            1,
            [Some(1), None],
        ),
        (
            vec![Sql::Null, Sql::Null, Sql::Text("S".into())],
            2,
            [None, Some(7)],
        ),
        (vec![Sql::Null; 3], 3, [Some(0), None]),
    ];
    for (row, (of, second, [ok, n])) in rows.iter().zip(expected) {
        let integer = |value: Option<i64>| value.map_or(Sql::Null, Sql::Integer);
        assert_eq!(row[..3], of);
        assert_eq!(row[3], Sql::Text(format!("1970-01-01T00:00:0{second}Z")));
        assert_eq!(row[4], Sql::Integer(second * 1_000_000_000));
        assert_eq!((&row[5], &row[7]), (&integer(ok), &integer(n)));
    }
    assert_eq!(
        (&rows[0][6], &rows[1][8]),
        (&Sql::Real(0.5), &Sql::Real(1.5))
    );
    assert_eq!(rows[2][9], Sql::Text("a 'b'".into()));
}

#[tokio::test]
async fn view_shows_any_names() {
    let fixture = started();
    let names = crate::writes::STRANGE;
    let of: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    let fields: Vec<_> = names.iter().map(|name| (*name, float(1.5))).collect();
    fixture
        .store
        .write(&[tagged(&of, 1, &fields)])
        .await
        .unwrap();
    let (columns, rows) = shown(&fixture);
    assert_eq!(columns.len(), 2 * names.len() + 2);
    let mut sorted = names;
    sorted.sort_unstable();
    assert_eq!(rows[0][..names.len()], texts(&sorted));
    assert!(
        rows[0][names.len() + 2..]
            .iter()
            .all(|value| *value == Sql::Real(1.5))
    );
    // A tag can be asked for by its name.
    let tool = tool(&fixture.path());
    for (column, name) in std::iter::zip(&columns, sorted) {
        match name {
            // The column of the tick's time has its name.
            "Time" => assert!(column.starts_with("Time ("), "{column}"),
            name => assert_eq!(column, name),
        }
        // Without the view's name, SQLite takes an unknown column for a string.
        let column = format!("rows.\"{}\"", column.replace('"', "\"\""));
        let sql = format!("SELECT count(*) FROM rows WHERE {column} = ?1");
        let found: i64 = tool.query_row(&sql, [name], |row| row.get(0)).unwrap();
        assert_eq!(found, 1, "{sql}");
    }
}

#[tokio::test]
async fn view_tells_names_apart_that_look_like_its_own() {
    let fixture = started();
    for name in ["A (3)", "a", "A", "TICK"] {
        let row = tagged(&[], 1, &[(name, float(1.5))]);
        fixture.store.write(&[row]).await.unwrap();
    }
    let (columns, rows) = shown(&fixture);
    let fields = ["A (3)", "a", "A (3) (3)", "TICK (4)"];
    assert_eq!(columns[2..], fields);
    assert_eq!(rows[0][2..], [const { Sql::Real(1.5) }; 4]);
}

#[tokio::test]
async fn view_without_tags_has_times_and_fields() {
    let fixture = started();
    fixture
        .store
        .write(&[tagged(&[], 1, &[("f", float(1.5))])])
        .await
        .unwrap();
    let (columns, rows) = shown(&fixture);
    assert_eq!(columns, ["time", "tick", "f"]);
    assert_eq!(rows[0][2], Sql::Real(1.5));
}

#[tokio::test]
async fn view_is_limited_but_tags_are_not() {
    let fixture = started();
    let rows: Vec<Row<'_>> = (0..150)
        .map(|number| {
            let name = format!("tag {number:03}");
            let field = format!("field {number:03}");
            tagged(&[(&name, "x")], number, &[(&field, float(0.5))])
        })
        .collect();
    for rows in rows.chunks(40) {
        fixture.store.write(rows).await.unwrap();
    }
    let (columns, shown) = shown(&fixture);
    assert_eq!((columns.len(), shown.len()), (100 + 2 + 150, 150));
    assert_eq!(keys(&fixture.history).await.len(), 150);
    check(&fixture.path());
}

#[tokio::test]
async fn view_is_left_alone_while_names_stay_the_same() {
    let dir = TempDir::new().unwrap();
    let path = path_in(dir.path());
    let version = || {
        let read = tool(&path).query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0));
        read.unwrap()
    };
    let row = |device: &str, second| tagged(&[("device", device)], second, &[("f", float(1.0))]);
    let store = open_as(&path, Layout::Tagged).unwrap();
    store.write(&[row("A", 1)]).await.unwrap();
    let before = version();
    store.write(&[row("A", 2), row("B", 2)]).await.unwrap();
    drop(store);
    let store = open_as(&path, Layout::Tagged).unwrap();
    store.write(&[row("C", 3)]).await.unwrap();
    assert_eq!(version(), before);
    // It can fail.
    store
        .write(&[tagged(&[("site", "S")], 1, &[("f", float(1.0))])])
        .await
        .unwrap();
    assert_ne!(version(), before);
}

#[tokio::test]
async fn file_holds_rows_of_one_layout() {
    let dir = TempDir::new().unwrap();
    let path = path_in(dir.path());
    // A file without rows may be of either.
    drop(open_as(&path, Layout::Tagged).unwrap());
    let store = open_as(&path, Layout::Rigs).unwrap();
    store.write(&[row("R", 1, &[("f", 1.0)])]).await.unwrap();
    drop(store);
    let error = open_as(&path, Layout::Tagged).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert!(
        error.contains("it holds rows of the pipeline rigs"),
        "{error}"
    );

    let fixture = started();
    let path = fixture.path();
    fixture
        .store
        .write(&[tagged(&[], 1, &[("f", float(1.0))])])
        .await
        .unwrap();
    let error = open_as(&path, Layout::Rigs).unwrap_err().to_string();
    assert!(
        error.contains("rows of the pipeline rigs can't be added"),
        "{error}"
    );
    open_as(&path, Layout::Tagged).unwrap();
}

#[tokio::test]
async fn types_are_kept_over_a_restart() {
    let dir = TempDir::new().unwrap();
    let path = path_in(dir.path());
    let fields = [
        ("b", Value::Bool(true)),
        ("f", float(1.0)),
        ("i", Value::Integer(1)),
        ("s", string("1")),
    ];
    for second in 0..3 {
        let store = open_as(&path, Layout::Tagged).unwrap();
        store.write(&[tagged(&[], second, &fields)]).await.unwrap();
        for (name, _) in &fields {
            for (_, other) in fields.iter().filter(|(other, _)| other != name) {
                let row = tagged(&[], second, &[(name, other.clone())]);
                let answer = store.write(&[row]).await;
                assert!(
                    matches!(answer, Err(WriteError::Rejected { .. })),
                    "{answer:?}"
                );
            }
        }
        let rows = rows_of(&store.history(), "{}").await;
        assert_eq!(rows.last().unwrap(), &tagged(&[], second, &fields));
    }
    check(&path);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_batch_does_not_reject_those_beside_it() {
    let fixture = started();
    let store = &fixture.store;
    let row =
        |device: &str, second, value: Value| tagged(&[("device", device)], second, &[("f", value)]);
    store.write(&[row("A", 0, float(0.0))]).await.unwrap();
    for second in 1..50 {
        let good = [row("A", second, float(1.0))];
        let bad = [row("B", second, float(1.0)), row("B", second, string("x"))];
        let other = [tagged(
            &[("site", "S")],
            second,
            &[("g", Value::Integer(1))],
        )];
        let answers = tokio::join!(store.write(&good), store.write(&bad), store.write(&other));
        answers.0.unwrap();
        answers.2.unwrap();
        match answers.1 {
            Err(WriteError::Rejected { detail, .. }) => {
                assert!(
                    detail.starts_with("row 2 of 2: its field \"f\""),
                    "{detail}"
                );
            }
            answer => panic!("{answer:?}"),
        }
    }
    // Nothing of a rejected batch is stored, so that writing a part of it again adds nothing twice.
    assert_eq!(
        keys(&fixture.history).await,
        ["{\"device\":\"A\"}", "{\"site\":\"S\"}"]
    );
    for (key, rows) in [("{\"device\":\"A\"}", 50), ("{\"site\":\"S\"}", 49)] {
        assert_eq!(rows_of(&fixture.history, key).await.len(), rows);
    }
    check(&fixture.path());
}

#[tokio::test]
async fn what_rigline_does_not_write_is_denied() {
    let fixture = started();
    fixture
        .store
        .write(&[tagged(&[], 1, &[("f", float(1.0))])])
        .await
        .unwrap();
    let tool = tool(&fixture.path());
    tool.execute_batch("UPDATE series SET key = '{\"a\":7}'")
        .unwrap();
    let read = fixture.history.series().await;
    assert!(matches!(read, Err(ReadError::Denied { .. })), "{read:?}");
    tool.execute_batch("UPDATE field SET type = 'uuid'")
        .unwrap();
    let read = fixture.history.latest("{\"a\":7}").await;
    assert!(matches!(read, Err(ReadError::Denied { .. })), "{read:?}");
}
