//! A ledger of version 0.1, which has no counters of samples and readings.

use model::Stage;
use queue::ledger::{Counter, Ledger};
use queue::{Commit, Queue};

use crate::contract::{append, commit, ledger_of};
use crate::fixture::{Fixture, OnRedis, OnSqlite, items, take};

/// A commit that takes elements, with these counts.
fn taking(number: u64, take: usize, counts: &[(Counter, i64)]) -> Commit {
    Commit {
        number,
        take,
        counts: counts.to_vec(),
        ..Commit::default()
    }
}

fn new_counters(ledger: &Ledger) -> [i64; 2] {
    [Counter::Samples, Counter::Readings].map(|counter| ledger.get(counter))
}

async fn missing_counters_are_added_with_the_next_lease<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..10)).await;
    let lease = take(&queue, Stage::Transformer).await;
    // As a transformer of version 0.1 commits.
    let change = Commit {
        dead: items(20..21),
        ..taking(0, 5, &[(Counter::InRows, 3), (Counter::OpenReadings, 1)])
    };
    commit(&queue, &lease, change).await;
    queue.release(&lease).await.unwrap();
    // A reader of the ledger sees the counters already.
    let ledger = ledger_of(&queue).await;
    assert_eq!(new_counters(&ledger), [4, 4]);
    assert_eq!(ledger.broken_line(), None);

    let lease = take(&queue, Stage::Transformer).await;
    let counts = [
        (Counter::Samples, 2),
        (Counter::Readings, 5),
        (Counter::InRows, 5),
    ];
    commit(&queue, &lease, taking(1, 2, &counts)).await;
    let ledger = ledger_of(&queue).await;
    assert_eq!(new_counters(&ledger), [6, 9]);
    assert_eq!(ledger.broken_line(), None);
}

#[tokio::test]
async fn missing_counters_are_added_with_the_next_lease_in_redis() {
    missing_counters_are_added_with_the_next_lease::<OnRedis>().await;
}

#[tokio::test]
async fn missing_counters_are_added_with_the_next_lease_in_sqlite() {
    missing_counters_are_added_with_the_next_lease::<OnSqlite>().await;
}
