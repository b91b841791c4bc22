//! Reading a part of a list: on Redis and SQLite, with the same positions.

use model::Stage;
use queue::list::List;
use queue::{Append, Commit, Queue, QueueError, Stretch};

use crate::fixture::{Fixture, LEASE, OnRedis, OnSqlite};

fn items(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// Appends and takes elements, and reads the raw list and the dead letters in between.
async fn positions<Q: Queue>(
    queue: Q,
    read: impl AsyncFn(&Q, List, Option<i64>, usize) -> Result<Stretch, QueueError>,
) {
    let lease = queue.lease(Stage::Transformer, "nonce", LEASE).await;
    let lease = lease.unwrap().unwrap();
    let append = Append {
        raw: items(&["a", "b", "c", "d"]),
        dead: items(&["x"]),
        over_quota: 3,
        ..Append::default()
    };
    queue.append(&append).await.unwrap();
    let places = async |list, from, max| {
        let found = read(&queue, list, from, max).await.unwrap();
        assert!(!found.instance.is_empty());
        (found.first, found.end, found.items)
    };
    let newest = places(List::Raw, None, 3).await;
    assert_eq!(newest, (1, 4, items(&["b", "c", "d"])));
    let commit = Commit {
        take: 3,
        ..Commit::default()
    };
    queue.commit(&lease, &commit).await.unwrap();
    let append = Append {
        raw: items(&["e"]),
        ..Append::default()
    };
    queue.append(&append).await.unwrap();
    // What was taken is gone, and the rest is where it was.
    let rest = places(List::Raw, Some(1), 10).await;
    assert_eq!(rest, (3, 5, items(&["d", "e"])));
    let one = places(List::Raw, Some(4), 1).await;
    assert_eq!(one, (4, 5, items(&["e"])));
    assert_eq!(places(List::Raw, Some(5), 1).await, (5, 5, Vec::new()));
    assert_eq!(places(List::Normalized, None, 1).await, (0, 0, Vec::new()));
    // The three that weren't kept count.
    assert_eq!(places(List::Dead, None, 9).await, (3, 4, items(&["x"])));
    let peek = queue.peek(&lease, 0, 10).await.unwrap();
    assert_eq!(peek.items, items(&["d", "e"]), "nothing was taken");
}

#[tokio::test]
async fn positions_stay_while_elements_leave_redis() {
    let fixture = OnRedis::start();
    let read = async |queue: &queue::redis::RedisQueue, list, from, max| {
        queue.stretch(list, from, max).await
    };
    positions(fixture.queue(), read).await;
}

#[tokio::test]
async fn positions_stay_while_elements_leave_sqlite() {
    let fixture = OnSqlite::start();
    let read = async |queue: &queue::sqlite::SqliteQueue, list, from, max| {
        queue.stretch(list, from, max).await
    };
    positions(fixture.queue(), read).await;
}
