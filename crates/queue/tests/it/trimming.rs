//! Dead letters that aren't kept: what the limits trim, and what is beyond a quota.

use model::Stage;
use queue::ledger::Counter;
use queue::{Append, Commit, Queue};

use crate::contract::{assert_balanced, commit, ledger_of};
use crate::fixture::{Fixture, items, settings, take};

pub(crate) async fn oldest_dead_letters_are_trimmed_and_counted<F: Fixture>() {
    let fixture = F::start();
    let mut small = settings();
    (
        small.limits.dead_letter_limit,
        small.limits.dead_letter_bytes,
    ) = (4, 30);
    let queue = fixture.open(&small);
    let dead_letters = |dead: Vec<Vec<u8>>| Append {
        raw: Vec::new(),
        dead,
        ..Append::default()
    };
    queue.append(&dead_letters(items(0..3))).await.unwrap();
    queue.append(&dead_letters(items(3..6))).await.unwrap();
    let ledger = ledger_of(&queue).await;
    assert_eq!(
        (ledger.dead, ledger.get(Counter::Trimmed)),
        (4, 2),
        "by count"
    );
    let lease = take(&queue, Stage::Sink).await;
    let dead = vec![vec![b'x'; 25]];
    commit(
        &queue,
        &lease,
        Commit {
            dead,
            ..Commit::default()
        },
    )
    .await;
    let ledger = ledger_of(&queue).await;
    assert_eq!(
        (ledger.dead, ledger.get(Counter::Trimmed)),
        (1, 6),
        "by bytes"
    );
    queue
        .append(&dead_letters(vec![vec![b'y'; 31]]))
        .await
        .unwrap();
    let ledger = ledger_of(&queue).await;
    assert_eq!(
        (ledger.dead, ledger.get(Counter::Trimmed)),
        (0, 8),
        "larger than the limit"
    );
    queue.append(&dead_letters(items(6..7))).await.unwrap();
    assert_eq!(ledger_of(&queue).await.dead, 1);
    assert_balanced(&queue).await;
}

pub(crate) async fn inputs_beyond_their_quota_are_counted_as_dead_and_trimmed<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    let append = Append {
        raw: items(0..3),
        dead: items(3..5),
        over_quota: 7,
        ..Append::default()
    };
    queue.append(&append).await.unwrap();
    let lease = take(&queue, Stage::Transformer).await;
    let changes = Commit {
        take: 3,
        dead: items(0..1),
        over_quota: 2,
        ..Commit::default()
    };
    commit(&queue, &lease, changes).await;
    let only_counted = Commit {
        number: 1,
        over_quota: 1,
        ..Commit::default()
    };
    assert!(!only_counted.is_empty());
    commit(&queue, &lease, only_counted).await;
    let ledger = ledger_of(&queue).await;
    let counters = [
        Counter::DeadIngester,
        Counter::DeadTransformer,
        Counter::Trimmed,
    ];
    assert_eq!(counters.map(|counter| ledger.get(counter)), [9, 4, 10]);
    assert_eq!(ledger.dead, 3);
    assert_balanced(&queue).await;
}
