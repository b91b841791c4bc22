//! Rows that go when their time has come.

use std::time::Duration;

use common::clock::Clock;
use store::{History, SqliteHistory, Store};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::fixture::{check, keys, open, open_with, path_in, row, rows_of};

const DAY: Duration = Duration::from_hours(24);
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until these rigs are left.
async fn left(history: &SqliteHistory, rigs: &[&str]) {
    let started = Instant::now();
    while keys(history).await != rigs {
        assert!(started.elapsed() < PATIENCE, "{:?}", keys(history).await);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn old_rows_and_rigs_without_rows_are_deleted() {
    let dir = TempDir::with_prefix("store-").unwrap();
    let now = Clock::system().now().seconds();
    let store = open(dir.path());
    let mut rows = Vec::new();
    for second in 0..1_500 {
        rows.push(row("gone", now - 90_000 + second, &[("old", 0.5)]));
        rows.push(row("half", now - 3_000 + second, &[("old", 0.5)]));
        rows.push(row("half", now + 90_000 + second, &[("new", 0.5)]));
        rows.push(row("last", now + 90_000 + second, &[("new", 0.5)]));
    }
    store.write(&rows).await.unwrap();
    drop(store);

    // An hour that is kept, seen from a day later.
    let store = open_with(dir.path(), Duration::from_hours(1), Clock::ahead(DAY));
    let history = store.history();
    left(&history, &["half", "last"]).await;
    let started = Instant::now();
    while history.fields(None).await.unwrap() != ["new"] {
        assert!(started.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    for rig in ["half", "last"] {
        let kept = rows_of(&history, rig).await;
        assert_eq!(kept.len(), 1_500);
        assert_eq!(kept[0].timestamp.seconds(), now + 90_000);
        assert_eq!(history.fields(Some(rig)).await.unwrap(), ["new"]);
    }
    assert_eq!(history.latest("half").await.unwrap().len(), 1);
    check(&path_in(dir.path()));

    // The names that went can come again.
    let again = [row("gone", now + 90_000, &[("old", 1.5)])];
    store.write(&again).await.unwrap();
    assert_eq!(rows_of(&history, "gone").await, again);
    check(&path_in(dir.path()));
}

#[tokio::test]
async fn rows_past_their_retention_are_stored_and_then_deleted() {
    let dir = TempDir::with_prefix("store-").unwrap();
    let second = Duration::from_secs(1);
    let store = open_with(dir.path(), second, Clock::system());
    let history = store.history();
    let ahead = Clock::system().now().seconds() + 86_400;
    for round in 0..3 {
        let rows = [
            row("old", round, &[("a", 0.5)]),
            row("new", ahead, &[("b", 0.5)]),
        ];
        store.write(&rows).await.unwrap();
        left(&history, &["new"]).await;
        assert_eq!(history.fields(None).await.unwrap(), ["b"]);
        check(&path_in(dir.path()));
    }
}

#[tokio::test]
async fn deletions_by_another_process_do_not_break_the_writer() {
    let dir = TempDir::with_prefix("store-").unwrap();
    let leases = open(dir.path());
    let rows = [row("R", 1, &[("a", 0.5)])];
    leases.write(&rows).await.unwrap();
    for _ in 0..2 {
        let deleter = open_with(dir.path(), DAY, Clock::system());
        left(&deleter.history(), &[]).await;
        drop(deleter);
        leases.write(&rows).await.unwrap();
        assert_eq!(rows_of(&leases.history(), "R").await, rows);
        check(&path_in(dir.path()));
    }
}

#[tokio::test]
async fn nothing_is_deleted_without_retention() {
    let dir = TempDir::with_prefix("store-").unwrap();
    let store = open_with(dir.path(), Duration::ZERO, Clock::ahead(DAY * 10_000));
    let rows = [row("R", 1, &[("a", 0.5)])];
    store.write(&rows).await.unwrap();
    store.preflight().await.unwrap();
    sleep(Duration::from_millis(600)).await;
    assert_eq!(rows_of(&store.history(), "R").await, rows);
}
