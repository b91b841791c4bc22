//! Files that are no store, or not of this version, or damaged.

use std::fs;
use std::path::Path;

use model::Layout;
use rusqlite::Connection;
use store::{History, OpenError, ReadError, SqliteHistory, SqliteStore, Store, WriteError};
use tempfile::TempDir;

use crate::fixture::{check, open, open_as, path_in, row, rows_of, tool};

fn opened(path: &Path) -> Result<SqliteStore, OpenError> {
    open_as(path, Layout::Rigs)
}

/// Opening for writing and for reading both fail, with words that name the file; it stays as it
/// was.
fn refused(path: &Path) -> [OpenError; 2] {
    let before = fs::read(path).unwrap();
    let errors = [
        opened(path).unwrap_err(),
        SqliteHistory::open_read_only(path).unwrap_err(),
    ];
    for error in &errors {
        let words = error.to_string();
        assert!(words.contains(&path.display().to_string()), "{words}");
    }
    assert_eq!(fs::read(path).unwrap(), before, "it isn't touched");
    errors
}

#[test]
fn a_database_of_another_program_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = path_in(dir.path());
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE row (a)").unwrap();
    drop(other);
    for error in refused(&path) {
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "application_id", 7).unwrap();
    drop(other);
    for error in refused(&path) {
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
}

#[test]
fn file_that_is_no_database_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = path_in(dir.path());
    for bytes in [&b"no database\n"[..], &[7; 10_000]] {
        fs::write(&path, bytes).unwrap();
        for error in refused(&path) {
            assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        }
    }
}

#[test]
fn another_version_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = path_in(dir.path());
    drop(open(dir.path()));
    tool(&path).pragma_update(None, "user_version", 3).unwrap();
    for error in refused(&path) {
        let newer = matches!(
            error,
            OpenError::Newer {
                found: 3,
                known: 2,
                ..
            }
        );
        assert!(newer, "{error}");
    }
    tool(&path).pragma_update(None, "user_version", 0).unwrap();
    for error in refused(&path) {
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
}

#[tokio::test]
async fn missing_file_is_created_for_writing_but_not_for_reading() {
    let dir = TempDir::new().unwrap();
    let path = path_in(dir.path());
    let error = SqliteHistory::open_read_only(&path).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }));
    assert!(error.to_string().contains("there is no store"), "{error}");
    assert!(!path.exists());
    fs::write(&path, b"").unwrap();
    let error = SqliteHistory::open_read_only(&path).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "an empty file");
    opened(&path).unwrap().preflight().await.unwrap();
    SqliteHistory::open_read_only(&path).unwrap();
    check(&path);
    let nowhere = opened(&dir.path().join("none").join("store.db")).unwrap_err();
    assert!(matches!(nowhere, OpenError::Unusable { .. }), "{nowhere}");
    let a_directory = opened(dir.path()).unwrap_err();
    assert!(
        matches!(a_directory, OpenError::Unusable { .. }),
        "{a_directory}"
    );
}

#[tokio::test]
async fn damaged_file_is_denied_and_not_retried() {
    let dir = TempDir::new().unwrap();
    let path = path_in(dir.path());
    let store = open(dir.path());
    let rows: Vec<_> = (0..5_000)
        .map(|second| row("R", second, &[("a", 0.5)]))
        .collect();
    store.write(&rows).await.unwrap();
    store.preflight().await.unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    // The first page has the form of the tables, the others what is in them.
    bytes[4096..].fill(0xa5);
    fs::write(&path, bytes).unwrap();

    let store = open(dir.path());
    for answer in [store.write(&rows[..1]).await, store.preflight().await] {
        assert!(
            matches!(answer, Err(WriteError::Denied { .. })),
            "{answer:?}"
        );
        assert!(answer.unwrap_err().to_string().contains("restore a backup"));
    }
    let read = store.history().series().await;
    assert!(matches!(read, Err(ReadError::Denied { .. })), "{read:?}");
}

#[tokio::test]
async fn missing_tables_are_denied() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let rows = [row("R", 1, &[("a", 0.5)])];
    store.write(&rows).await.unwrap();
    let tool = tool(&path_in(dir.path()));
    tool.execute_batch("ALTER TABLE row RENAME TO aside")
        .unwrap();
    let answer = store.write(&rows).await;
    assert!(
        matches!(answer, Err(WriteError::Denied { .. })),
        "{answer:?}"
    );
    let read = store.history().series().await;
    assert!(matches!(read, Err(ReadError::Denied { .. })), "{read:?}");
    tool.execute_batch("ALTER TABLE aside RENAME TO row")
        .unwrap();
    store.write(&rows).await.unwrap();
    assert_eq!(rows_of(&store.history(), "R").await, rows);
}

#[tokio::test]
async fn rows_are_there_after_reopening() {
    let dir = TempDir::new().unwrap();
    for round in 0..3 {
        let store = open(dir.path());
        let rows = [
            row("R", round, &[("a", 0.5), ("B", 1.5)]),
            row("S", round, &[("b", 2.5)]),
        ];
        store.write(&rows).await.unwrap();
        drop(store);
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 1, "the log is in the file, and gone");
        check(&path_in(dir.path()));
    }
    let history = SqliteHistory::open_read_only(&path_in(dir.path())).unwrap();
    assert_eq!(rows_of(&history, "R").await.len(), 3);
    assert_eq!(history.fields(None).await.unwrap(), ["B", "a", "b"]);
}

#[tokio::test]
async fn new_file_can_be_opened_several_times_at_once() {
    for _ in 0..10 {
        let dir = TempDir::new().unwrap();
        let stores: Vec<_> = std::thread::scope(|scope| {
            let opening: Vec<_> = (0..6).map(|_| scope.spawn(|| open(dir.path()))).collect();
            opening.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let names = ["a", "b", "c", "d", "e", "f"];
        for (store, name) in stores.iter().zip(names) {
            store.write(&[row(name, 1, &[(name, 0.5)])]).await.unwrap();
            store.write(&[row("R", 1, &[(name, 0.5)])]).await.unwrap();
        }
        for store in &stores {
            let history = store.history();
            assert_eq!(history.fields(None).await.unwrap(), names);
            assert_eq!(rows_of(&history, "R").await[0].fields.len(), 6);
        }
        check(&path_in(dir.path()));
    }
}
