//! A disk that is full.

use store::{Store, WriteError};
use testkit::SmallDisk;

use crate::fixture::{check, open, path_in, row, rows_of};

/// More batches than the room that the log has taken can be good for.
const MANY: i64 = 5_000;

fn is_full(answer: &Result<(), WriteError>) -> bool {
    matches!(answer, Err(WriteError::Retry { detail, after: None })
        if detail.contains("store.db") && detail.contains("full") && detail.contains("free some"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_is_retried() {
    let Some(disk) = SmallDisk::mount(8 << 20) else {
        println!("skipped: a small disk needs root");
        return;
    };
    let store = open(disk.path());
    let mut second = 0;
    let mut write = async || {
        let rows: Vec<_> = (second..second + 10)
            .map(|second| row("R", second, &[("a", 0.5), ("b", 1.5)]))
            .collect();
        let answer = store.write(&rows).await;
        if answer.is_ok() {
            second += 10;
        }
        (answer, second)
    };
    for _ in 0..3 {
        write().await.0.unwrap();
        disk.fill();
        let mut tries = 0;
        let stored = loop {
            let (answer, stored) = write().await;
            tries += 1;
            match answer {
                Ok(()) => assert!(tries < MANY, "the disk never was full"),
                full => {
                    assert!(is_full(&full), "{full:?}");
                    break stored;
                }
            }
        };
        let probed = store.preflight().await;
        assert!(is_full(&probed), "{probed:?}");
        let rows = rows_of(&store.history(), "R").await;
        assert_eq!(rows.len(), usize::try_from(stored).unwrap());
        disk.free();
        store.preflight().await.unwrap();
        write().await.0.unwrap();
        check(&path_in(disk.path()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflight_takes_no_disk_space() {
    let Some(disk) = SmallDisk::mount(32 << 20) else {
        println!("skipped: a small disk needs root");
        return;
    };
    let store = open(disk.path());
    for _ in 0..800 {
        store.preflight().await.unwrap();
    }
    store.write(&[row("R", 1, &[("a", 0.5)])]).await.unwrap();
    check(&path_in(disk.path()));
    drop(store);
    assert!(path_in(disk.path()).metadata().unwrap().len() < 256 << 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwriting_rows_needs_no_disk_space() {
    let Some(disk) = SmallDisk::mount(16 << 20) else {
        println!("skipped: a small disk needs root");
        return;
    };
    let rows: Vec<_> = (0..100)
        .map(|second| row("R", second, &[("a", 0.5), ("b", 1.5)]))
        .collect();
    let store = open(disk.path());
    store.write(&rows).await.unwrap();
    store.preflight().await.unwrap();
    drop(store);
    let store = open(disk.path());
    // The log takes some room, which it uses over and over once it can't grow.
    for _ in 0..10 {
        store.preflight().await.unwrap();
    }
    disk.fill();
    for round in 0..500 {
        let mut rows = rows.clone();
        rows[0].fields[0].1 = f64::from(round).into();
        store.write(&rows).await.unwrap();
        store.preflight().await.unwrap();
    }
    check(&path_in(disk.path()));
}
