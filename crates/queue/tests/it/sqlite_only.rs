//! Guarantees of a queue in a file only.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::clock::Clock;
use model::Stage;
use queue::error::Cause;
use queue::ledger::Counter;
use queue::settings::QueueSettings;
use queue::sqlite::SqliteQueue;
use queue::{Append, Appended, Commit, DeadLetters, Queue, QueueError};
use rusqlite::Connection;
use tempfile::TempDir;
use testkit::SmallDisk;

use crate::fixture::{LEASE, item, items, nonce, peek, settings, take};

fn open(path: &Path) -> Result<SqliteQueue, QueueError> {
    SqliteQueue::open(path, &settings(), Clock::system())
}

fn file() -> (TempDir, PathBuf) {
    let dir = TempDir::with_prefix("queue-").unwrap();
    let path = dir.path().join("queue.db");
    (dir, path)
}

async fn append(queue: &SqliteQueue, raw: Vec<Vec<u8>>) -> Result<Appended, QueueError> {
    let dead = Vec::new();
    queue
        .append(&Append {
            raw,
            dead,
            ..Append::default()
        })
        .await
}

fn refusal(path: &Path) -> String {
    match open(path) {
        Err(QueueError::Incompatible(said)) => said,
        other => panic!("{other:?}"),
    }
}

/// The tables of version 0, without an application id.
const UNMARKED: &str = include_str!("../../src/sqlite/schema.sql");

#[tokio::test]
async fn file_of_version_0_is_migrated() {
    let (_dir, path) = file();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(UNMARKED).unwrap();
    old.execute_batch(
        "INSERT INTO raw (item) VALUES (CAST('item-7' AS BLOB));
         INSERT INTO ledger VALUES ('accepted', 1);",
    )
    .unwrap();
    drop(old);
    let read_only = SqliteQueue::open_read_only(&path, &settings(), Clock::system());
    assert!(
        matches!(&read_only, Err(QueueError::Incompatible(said)) if said.contains("older")),
        "{read_only:?}"
    );
    let queue = open(&path).unwrap();
    let lease = take(&queue, Stage::Transformer).await;
    assert_eq!(peek(&queue, &lease).await.items, [item(7)]);
    drop(queue);
    open(&path).unwrap();
}

#[tokio::test]
async fn file_of_another_program_is_refused_and_unchanged() {
    let (_dir, path) = file();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE notes (text)").unwrap();
    let said = refusal(&path);
    assert!(said.contains("another program"), "{said}");
    foreign
        .execute_batch("DROP TABLE notes; PRAGMA application_id = 7;")
        .unwrap();
    assert!(refusal(&path).contains("another program"));
    drop(foreign);

    let (_dir, newer) = file();
    drop(open(&newer).unwrap());
    let of_tomorrow = Connection::open(&newer).unwrap();
    of_tomorrow.pragma_update(None, "user_version", 99).unwrap();
    let said = refusal(&newer);
    assert!(said.contains("newer") && said.contains("99"), "{said}");

    let (_dir, text) = file();
    fs::write(
        &text,
        "this is a text file, and no database at all".repeat(100),
    )
    .unwrap();
    let said = refusal(&text);
    assert!(said.contains("no queue of Rigline"), "{said}");
    assert!(
        fs::read_to_string(&text)
            .unwrap()
            .starts_with("this is a text")
    );
}

#[tokio::test]
async fn read_only_handle_changes_nothing_and_sees_concurrent_writes() {
    let (_dir, path) = file();
    let missing = SqliteQueue::open_read_only(&path, &settings(), Clock::system());
    assert!(
        matches!(&missing, Err(QueueError::Incompatible(said)) if said.contains("there is no queue")),
        "{missing:?}"
    );
    let queue = open(&path).unwrap();
    let snapshot = SqliteQueue::open_read_only(&path, &settings(), Clock::system()).unwrap();
    append(&queue, items(0..3)).await.unwrap();
    let ledger = snapshot.snapshot().await.unwrap().ledger;
    assert_eq!((ledger.get(Counter::Accepted), ledger.raw), (3, 3));
    assert_eq!(snapshot.dead_letters(0, 10).await.unwrap(), []);
    let refused = append(&snapshot, items(0..1)).await;
    assert!(
        matches!(
            refused,
            Err(QueueError::Unavailable {
                cause: Cause::ReadOnly,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_get_their_own_results() {
    let (_dir, path) = file();
    let queue = open(&path).unwrap();
    let lease = take(&queue, Stage::Transformer).await;
    let appends = (0..200).map(|number| {
        let queue = queue.clone();
        tokio::spawn(async move { append(&queue, vec![item(number)]).await })
    });
    // Some of them are refused, each on its own.
    let refused = (0..50).map(|_| {
        let (queue, lease) = (queue.clone(), lease.clone());
        let wrong = Commit {
            number: 77,
            outputs: items(0..1),
            ..Commit::default()
        };
        tokio::spawn(async move { queue.commit(&lease, &wrong).await })
    });
    let (appends, refused): (Vec<_>, Vec<_>) = (appends.collect(), refused.collect());
    for (place, append) in appends.into_iter().enumerate() {
        let appended = append.await.unwrap();
        assert!(
            matches!(appended, Ok(Appended::Done { .. })),
            "{place}: {appended:?}"
        );
    }
    for refused in refused {
        let refused = refused.await.unwrap();
        assert!(
            matches!(refused, Err(QueueError::Conflict { .. })),
            "{refused:?}"
        );
    }
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!((ledger.raw, ledger.normalized), (200, 0));
    assert_eq!(ledger.get(Counter::Accepted), 200);
    let mut found = peek(&queue, &lease).await.items;
    found.sort();
    let mut expected = items(0..200);
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn only_process_waits_for_no_lease_and_renews_without_a_write() {
    let (_dir, path) = file();
    let killed = open(&path).unwrap();
    let old = take(&killed, Stage::Sink).await;
    assert_eq!(
        open(&path)
            .unwrap()
            .lease(Stage::Sink, &nonce(), LEASE)
            .await,
        Ok(None)
    );
    let queue = SqliteQueue::open_alone(&path, &settings(), Clock::system()).unwrap();
    let lease = take(&queue, Stage::Sink).await;
    assert_ne!(lease.token, old.token);
    assert_eq!(killed.renew(&old).await, Err(QueueError::Fenced));

    let version = || -> i64 {
        let file = Connection::open(&path).unwrap();
        file.query_row(
            "SELECT until FROM consumer WHERE name = 'sink'",
            [],
            |row| row.get(0),
        )
        .unwrap()
    };
    let before = version();
    // Long enough that a renewal with a write would write another time.
    tokio::time::sleep(Duration::from_millis(50)).await;
    queue.renew(&lease).await.unwrap();
    assert_eq!(version(), before, "nothing was written");
    append(&queue, items(0..1)).await.unwrap();
    let commit = Commit {
        counts: vec![(Counter::RowsStored, 1)],
        ..Commit::default()
    };
    queue.commit(&lease, &commit).await.unwrap();
    // A lease that wasn't released, for instance because of a full disk, delays no other.
    let next = take(&queue, Stage::Sink).await;
    assert_eq!(queue.renew(&lease).await, Err(QueueError::Fenced));
    assert_eq!(queue.state(&lease).await, Err(QueueError::Fenced));
    queue.release(&next).await.unwrap();
    assert_eq!(queue.renew(&next).await, Err(QueueError::Fenced));
}

/// Size of the file and its write-ahead log, in bytes.
fn size(path: &Path) -> u64 {
    let log = path.with_extension("db-wal");
    let length = |path: &Path| fs::metadata(path).map_or(0, |data| data.len());
    length(path) + length(&log)
}

#[tokio::test]
async fn taken_elements_free_their_pages() {
    let (_dir, path) = file();
    let queue = open(&path).unwrap();
    let lease = take(&queue, Stage::Transformer).await;
    let mut sizes = Vec::new();
    for round in 0_u64..60 {
        append(&queue, vec![vec![b'x'; 200]; 5_000]).await.unwrap();
        let all = Commit {
            number: round,
            take: 5_000,
            ..Commit::default()
        };
        queue.renew(&lease).await.unwrap();
        queue.commit(&lease, &all).await.unwrap();
        sizes.push(size(&path));
    }
    // 60 MB were written; the log is checkpointed at 16 MB.
    let (early, late) = (sizes[29], sizes[59]);
    assert!(late <= early + (1 << 20), "{sizes:?}");
    assert!(late < 40 << 20, "{sizes:?}");
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "what is skipped is said")]
async fn full_disk_refuses_appends_until_there_is_space() {
    let Some(disk) = SmallDisk::mount(4 << 20) else {
        println!("skipped: only root may mount a small disk");
        return;
    };
    let path = disk.path().join("queue.db");
    let mut wide: QueueSettings = settings();
    wide.limits.queue_limit = usize::MAX;
    let queue = SqliteQueue::open(&path, &wide, Clock::system()).unwrap();
    let mut taken = 0_i64;
    append(&queue, items(0..1)).await.unwrap();
    taken += 1;
    disk.fill();
    // Until the log's free pages are used up.
    let refused = loop {
        match append(&queue, vec![vec![b'x'; 1_000]; 50]).await {
            Ok(_) => taken += 50,
            Err(refused) => break refused,
        }
        assert!(taken < 10_000, "the disk has no end");
    };
    assert!(
        matches!(
            refused,
            QueueError::Unknown(_)
                | QueueError::Unavailable {
                    cause: Cause::CannotPersist,
                    ..
                }
        ),
        "{refused:?}"
    );
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!((ledger.raw, ledger.get(Counter::Accepted)), (taken, taken));
    disk.free();
    append(&queue, items(0..1)).await.unwrap();
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!(
        (ledger.raw, ledger.get(Counter::Accepted)),
        (taken + 1, taken + 1)
    );
    let check: String = Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}
