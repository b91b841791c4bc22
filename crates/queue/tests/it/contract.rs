//! What every queue promises.

use std::time::Duration;

use common::clock::Clock;
use common::harness::Process;
use common::health::Dependency;
use model::Stage;
use queue::ledger::Counter;
use queue::list::List;
use queue::resets::Resets;
use queue::settle::{Settled, settle};
use queue::testing::{Fate, Lossy};
use queue::{Append, Appended, Commit, Lease, Queue, QueueError};

use crate::dead_letters::letters_are_replayed_once_and_marked;
use crate::fixture::{
    Fixture, LEASE, OnMemory, OnRedis, OnSqlite, SHORT_LEASE, is_wrong_type, item, items, nonce,
    peek, settings, take, take_for, take_when_free,
};

macro_rules! contract {
    ($($test:ident)+; not_in_memory: $($keyed:ident)+) => {
        contract! { on_redis OnRedis $($test)+ $($keyed)+ }
        contract! { on_sqlite OnSqlite $($test)+ $($keyed)+ }
        contract! { on_memory OnMemory $($test)+ }
    };
    ($kind:ident $fixture:ident $($test:ident)+) => {
        mod $kind {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test::<super::$fixture>().await })+
        }
    };
}

contract! {
    appended_elements_come_out_in_order
    a_commit_moves_everything_at_once
    state_is_put_deleted_and_read_whole
    a_lease_has_one_holder
    a_standby_takes_over_after_release_and_after_expiry
    a_stale_token_is_refused
    a_wrong_number_is_refused
    a_lost_answer_is_settled_whatever_became_of_the_commit
    a_commit_that_was_overtaken_is_lost
    a_full_list_takes_nothing_and_drains
    dead_letters_are_trimmed_oldest_first_and_counted
    two_appenders_while_trimming_lose_nothing
    a_crash_between_any_two_steps_loses_and_doubles_nothing
    large_commits_and_any_bytes_pass
    strangers_show_in_the_ledger
    a_head_that_a_stranger_changed_is_not_trimmed
    a_flushed_queue_is_noticed;
    // A list in memory is a list by its type.
    not_in_memory:
    keys_of_a_wrong_type_change_nothing
    letters_are_replayed_once_and_marked
}

pub(crate) async fn append<Q: Queue>(queue: &Q, raw: Vec<Vec<u8>>) {
    let appended = queue
        .append(&Append {
            raw,
            dead: Vec::new(),
        })
        .await
        .unwrap();
    assert!(matches!(appended, Appended::Done { .. }), "{appended:?}");
}

async fn commit<Q: Queue>(queue: &Q, lease: &Lease, commit: Commit) {
    queue.commit(lease, &commit).await.unwrap();
}

/// Settles without a stop in sight.
async fn settled<Q: Queue>(queue: &Q, lease: &Lease, commit: &Commit) -> Settled {
    let nothing = Dependency::unreported("queue");
    settle(queue, lease, commit, &nothing, &Process::default()).await
}

/// The lines of the ledger that the lists alone decide hold, and nothing is foreign.
pub(crate) async fn assert_balanced<Q: Queue>(queue: &Q) {
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!(
        (ledger.raw_foreign(), ledger.rows_foreign()),
        (0, 0),
        "{ledger:?}"
    );
    let dead = &ledger.lines()[4];
    assert_eq!(dead.left, dead.right, "{ledger:?}");
}

async fn appended_elements_come_out_in_order<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..3)).await;
    append(&queue, items(3..5)).await;
    let lease = take(&queue, Stage::Transformer).await;
    let first = queue.peek(&lease, 2).await.unwrap();
    assert_eq!(
        (first.items, first.length, first.number),
        (items(0..2), 5, 0)
    );
    assert_eq!(
        peek(&queue, &lease).await.items,
        items(0..5),
        "a peek removes nothing"
    );
    commit(
        &queue,
        &lease,
        Commit {
            take: 2,
            ..Commit::default()
        },
    )
    .await;
    let next = peek(&queue, &lease).await;
    assert_eq!((next.items, next.number), (items(2..5), 1));
    assert_eq!(
        queue
            .snapshot()
            .await
            .unwrap()
            .ledger
            .get(Counter::Accepted),
        5
    );
}

async fn a_commit_moves_everything_at_once<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..4)).await;
    let lease = take(&queue, Stage::Transformer).await;
    let change = Commit {
        number: 0,
        take: 3,
        outputs: items(100..102),
        dead: items(200..201),
        puts: vec![(b"rig".to_vec(), b"open".to_vec())],
        counts: vec![(Counter::Repeated, 1), (Counter::OpenReadings, 1)],
        ..Commit::default()
    };
    commit(&queue, &lease, change).await;
    // Without anything taken the number moves, too.
    let timer = Commit {
        number: 1,
        counts: vec![(Counter::OpenReadings, -1)],
        ..Commit::default()
    };
    commit(&queue, &lease, timer).await;

    let peeked = peek(&queue, &lease).await;
    assert_eq!(
        (peeked.number, peeked.items, peeked.output_length),
        (2, items(3..4), 2)
    );
    let progress = queue.progress(Stage::Transformer).await.unwrap();
    assert_eq!((progress.number, progress.by), (2, lease.token));
    let ledger = queue.snapshot().await.unwrap().ledger;
    for (counter, value) in [
        (Counter::RawTaken, 3),
        (Counter::RowsOut, 2),
        (Counter::DeadTransformer, 1),
        (Counter::Repeated, 1),
        (Counter::OpenReadings, 0),
    ] {
        assert_eq!(ledger.get(counter), value, "{counter:?}");
    }
    assert_eq!((ledger.raw, ledger.normalized, ledger.dead), (1, 2, 1));

    let sink = take(&queue, Stage::Sink).await;
    assert_eq!(peek(&queue, &sink).await.items, items(100..102));
    let change = Commit {
        take: 2,
        counts: vec![(Counter::RowsStored, 2)],
        ..Commit::default()
    };
    commit(&queue, &sink, change).await;
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!(
        (
            ledger.get(Counter::RowsTaken),
            ledger.get(Counter::RowsStored)
        ),
        (2, 2)
    );
    assert_balanced(&queue).await;
}

async fn state_is_put_deleted_and_read_whole<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    let lease = take(&queue, Stage::Transformer).await;
    let put = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    let puts = vec![put("a", "1"), put("b", "2"), put("c", "")];
    commit(
        &queue,
        &lease,
        Commit {
            puts,
            ..Commit::default()
        },
    )
    .await;
    let change = Commit {
        number: 1,
        puts: vec![put("a", "3")],
        deletes: vec![b"b".to_vec(), b"never".to_vec()],
        ..Commit::default()
    };
    commit(&queue, &lease, change).await;
    let mut state = fixture.queue().state(&lease).await.unwrap();
    state.sort();
    assert_eq!(state, [put("a", "3"), put("c", "")]);
    let sink = take(&queue, Stage::Sink).await;
    assert!(
        queue.state(&sink).await.unwrap().is_empty(),
        "each consumer has its own"
    );
}

/// Of a consumer that crashes: the next one waits until it has run out.
const CRASH_LEASE: Duration = Duration::from_secs(1);
/// Long enough that a busy machine renews it in time, short enough to see that it would run out.
const RENEWED_LEASE: Duration = Duration::from_secs(2);

async fn a_lease_has_one_holder<F: Fixture>() {
    let fixture = F::start();
    let (queue, other) = (fixture.queue(), fixture.queue());
    let mine = nonce();
    let ask = || queue.lease(Stage::Sink, &mine, RENEWED_LEASE);
    let (given, again) = (ask().await.unwrap(), ask().await.unwrap());
    assert_eq!(again, given, "after a lost answer the same lease is given");
    let lease = given.unwrap();
    assert_eq!(other.lease(Stage::Sink, &nonce(), LEASE).await, Ok(None));
    take(&other, Stage::Transformer).await;
    for _ in 0..5 {
        tokio::time::sleep(RENEWED_LEASE / 4).await;
        queue.renew(&lease).await.unwrap();
        assert_eq!(
            other.lease(Stage::Sink, &nonce(), LEASE).await,
            Ok(None),
            "renewed"
        );
    }
    for number in 0..5 {
        tokio::time::sleep(RENEWED_LEASE / 4).await;
        commit(
            &queue,
            &lease,
            Commit {
                number,
                ..Commit::default()
            },
        )
        .await;
        assert_eq!(
            other.lease(Stage::Sink, &nonce(), LEASE).await,
            Ok(None),
            "committed"
        );
    }
}

async fn a_standby_takes_over_after_release_and_after_expiry<F: Fixture>() {
    let fixture = F::start();
    let (queue, standby) = (fixture.queue(), fixture.queue());
    let first = take(&queue, Stage::Sink).await;
    queue.release(&first).await.unwrap();
    let second = take_for(&standby, Stage::Sink, RENEWED_LEASE).await;
    assert_eq!(
        queue.release(&first).await,
        Err(QueueError::Fenced),
        "not its own any more"
    );
    standby.renew(&second).await.unwrap();
    tokio::time::sleep(RENEWED_LEASE + Duration::from_millis(100)).await;
    let third = take(&queue, Stage::Sink).await;
    assert_eq!(standby.renew(&second).await, Err(QueueError::Fenced));
    assert!(first.token != second.token && second.token != third.token);
}

async fn a_stale_token_is_refused<F: Fixture>() {
    let fixture = F::start();
    let (frozen, other) = (fixture.queue(), fixture.queue());
    append(&frozen, items(0..2)).await;
    let old = take_for(&frozen, Stage::Transformer, SHORT_LEASE).await;
    let peeked = peek(&frozen, &old).await;
    let change = Commit {
        number: peeked.number,
        take: 2,
        outputs: items(0..1),
        puts: vec![(b"k".to_vec(), b"v".to_vec())],
        counts: vec![(Counter::InRows, 2)],
        ..Commit::default()
    };
    tokio::time::sleep(SHORT_LEASE + Duration::from_millis(100)).await;
    assert_eq!(
        frozen.commit(&old, &change).await,
        Err(QueueError::Fenced),
        "it ran out"
    );
    let new = take(&other, Stage::Transformer).await;
    assert_eq!(
        frozen.commit(&old, &change).await,
        Err(QueueError::Fenced),
        "another has it"
    );
    assert_eq!(frozen.state(&old).await, Err(QueueError::Fenced));
    assert_eq!(peek(&other, &new).await, peeked, "nothing was changed");
    assert!(other.state(&new).await.unwrap().is_empty());
    assert_eq!(
        other.snapshot().await.unwrap().ledger.get(Counter::InRows),
        0
    );
}

async fn a_wrong_number_is_refused<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..2)).await;
    let lease = take(&queue, Stage::Transformer).await;
    commit(
        &queue,
        &lease,
        Commit {
            take: 1,
            ..Commit::default()
        },
    )
    .await;
    let before = peek(&queue, &lease).await;
    for expected in [0, 2, 17] {
        let change = Commit {
            number: expected,
            take: 1,
            outputs: items(5..6),
            ..Commit::default()
        };
        let refused = queue.commit(&lease, &change).await;
        assert_eq!(refused, Err(QueueError::Conflict { expected, found: 1 }));
    }
    assert_eq!(peek(&queue, &lease).await, before);
}

async fn a_lost_answer_is_settled_whatever_became_of_the_commit<F: Fixture>() {
    let cases: [(&[Fate], usize); 5] = [
        (&[], 1),
        (&[Fate::Applied], 1),
        (&[Fate::Dropped], 2),
        (&[Fate::Dropped, Fate::Dropped, Fate::Applied], 3),
        (&[Fate::Delayed], 2),
    ];
    for (fates, commits) in cases {
        let fixture = F::start();
        let queue = Lossy::new(fixture.queue(), fates);
        append(&queue, items(0..4)).await;
        let lease = take(&queue, Stage::Transformer).await;
        let change = Commit {
            take: 2,
            outputs: items(10..11),
            ..Commit::default()
        };
        assert_eq!(
            settled(&queue, &lease, &change).await,
            Settled::Applied,
            "{fates:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        let after = peek(&queue, &lease).await;
        assert_eq!((after.number, after.items), (1, items(2..4)), "{fates:?}");
        assert_eq!(after.output_length, 1, "{fates:?}");
        assert_eq!(queue.calls(), commits, "{fates:?}");
        assert_balanced(&queue).await;
    }
}

async fn a_commit_that_was_overtaken_is_lost<F: Fixture>() {
    // Applied, the answer lost, and the lease gone before it could be asked about.
    let fixture = F::start();
    let (queue, other) = (fixture.queue(), fixture.queue());
    append(&queue, items(0..4)).await;
    let old = take(&queue, Stage::Transformer).await;
    let change = Commit {
        take: 1,
        ..Commit::default()
    };
    commit(&queue, &old, change.clone()).await;
    queue.release(&old).await.unwrap();
    let lossy = Lossy::new(queue.clone(), &[Fate::Dropped]);
    assert_eq!(
        settled(&lossy, &old, &change).await,
        Settled::Applied,
        "one more, by this token"
    );

    let new = take(&other, Stage::Transformer).await;
    commit(
        &other,
        &new,
        Commit {
            number: 1,
            take: 1,
            ..Commit::default()
        },
    )
    .await;
    let lossy = Lossy::new(queue, &[Fate::Dropped]);
    let lost = settled(&lossy, &old, &change).await;
    assert!(matches!(lost, Settled::Lost(_)), "two more: {lost:?}");
    let change = Commit {
        number: 1,
        take: 1,
        ..Commit::default()
    };
    let lossy = Lossy::new(fixture.queue(), &[Fate::Dropped]);
    let lost = settled(&lossy, &old, &change).await;
    assert!(
        matches!(lost, Settled::Lost(_)),
        "one more, but by another token: {lost:?}"
    );
    assert_eq!(
        peek(&other, &new).await.items,
        items(2..4),
        "nothing was trimmed unread"
    );
}

async fn keys_of_a_wrong_type_change_nothing<F: Fixture>() {
    for list in [List::Raw, List::Normalized, List::Dead] {
        let fixture = F::start();
        let queue = fixture.queue();
        let dead = Append {
            raw: items(0..2),
            dead: items(90..91),
        };
        queue.append(&dead).await.unwrap();
        let lease = take(&queue, Stage::Transformer).await;
        let before = (
            peek(&queue, &lease).await,
            queue.snapshot().await.unwrap().ledger,
        );
        let change = Commit {
            take: 1,
            outputs: items(5..6),
            dead: items(6..7),
            puts: vec![(b"k".to_vec(), b"v".to_vec())],
            ..Commit::default()
        };
        fixture.spoil(list);
        let refused = queue.commit(&lease, &change).await;
        assert!(is_wrong_type(&refused), "{list:?}: {refused:?}");
        if list != List::Normalized {
            let refused = queue.append(&dead).await;
            assert!(is_wrong_type(&refused), "{list:?}: {refused:?}");
        }
        let looked = queue.snapshot().await;
        assert!(is_wrong_type(&looked), "{list:?}: {looked:?}");
        if list == List::Raw {
            let peeked = queue.peek(&lease, 1).await;
            assert!(is_wrong_type(&peeked), "{peeked:?}");
        }
        fixture.mend(list);
        let after = (
            peek(&queue, &lease).await,
            queue.snapshot().await.unwrap().ledger,
        );
        assert_eq!(after, before, "{list:?}");
        commit(&queue, &lease, change).await;
        assert_balanced(&queue).await;
    }
}

async fn a_full_list_takes_nothing_and_drains<F: Fixture>() {
    let fixture = F::start();
    let mut small = settings();
    small.limits.queue_limit = 3;
    let queue = fixture.open(&small);
    append(&queue, items(0..2)).await;
    append(&queue, items(2..7)).await;
    let full = queue
        .append(&Append {
            raw: items(7..8),
            dead: items(9..10),
        })
        .await
        .unwrap();
    assert_eq!(
        full,
        Appended::Full { length: 7 },
        "one call may overshoot, the next is refused"
    );
    assert_eq!(
        queue.snapshot().await.unwrap().ledger.dead,
        0,
        "all or nothing"
    );
    let lease = take(&queue, Stage::Transformer).await;
    // The limit is no condition of a commit: what was taken may always be handed on.
    let outputs = items(0..9);
    commit(
        &queue,
        &lease,
        Commit {
            take: 5,
            outputs,
            ..Commit::default()
        },
    )
    .await;
    append(&queue, items(7..8)).await;
    assert_eq!(peek(&queue, &lease).await.items, items(5..8));
    assert_balanced(&queue).await;
}

async fn dead_letters_are_trimmed_oldest_first_and_counted<F: Fixture>() {
    let fixture = F::start();
    let mut small = settings();
    (
        small.limits.dead_letter_limit,
        small.limits.dead_letter_bytes,
    ) = (4, 30);
    let queue = fixture.open(&small);
    let bury = |dead: Vec<Vec<u8>>| Append {
        raw: Vec::new(),
        dead,
    };
    queue.append(&bury(items(0..3))).await.unwrap();
    queue.append(&bury(items(3..6))).await.unwrap();
    let ledger = queue.snapshot().await.unwrap().ledger;
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
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!(
        (ledger.dead, ledger.get(Counter::Trimmed)),
        (1, 6),
        "by bytes"
    );
    queue.append(&bury(vec![vec![b'y'; 31]])).await.unwrap();
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!(
        (ledger.dead, ledger.get(Counter::Trimmed)),
        (0, 8),
        "larger than all of it"
    );
    queue.append(&bury(items(6..7))).await.unwrap();
    assert_eq!(queue.snapshot().await.unwrap().ledger.dead, 1);
    assert_balanced(&queue).await;
}

async fn two_appenders_while_trimming_lose_nothing<F: Fixture>() {
    const EACH: usize = 300;
    let fixture = F::start();
    let appenders: Vec<_> = (0..2)
        .map(|appender| {
            let queue = fixture.queue();
            tokio::spawn(async move {
                for number in 0..EACH {
                    append(&queue, vec![format!("{appender}:{number}").into_bytes()]).await;
                }
            })
        })
        .collect();
    let queue = fixture.queue();
    let mut lease = take(&queue, Stage::Transformer).await;
    let mut seen = Vec::new();
    while seen.len() < 2 * EACH {
        let peeked = queue.peek(&lease, 7).await.unwrap();
        let (number, take_now) = (peeked.number, peeked.items.len());
        match queue
            .commit(
                &lease,
                &Commit {
                    number,
                    take: take_now,
                    ..Commit::default()
                },
            )
            .await
        {
            Ok(()) => seen.extend(peeked.items),
            // A slow machine may lose the lease in between; then nothing was taken.
            Err(QueueError::Fenced) => lease = take(&queue, Stage::Transformer).await,
            Err(error) => panic!("{error}"),
        }
    }
    for appender in appenders {
        appender.await.unwrap();
    }
    for appender in 0..2 {
        let prefix = format!("{appender}:").into_bytes();
        let own: Vec<_> = seen
            .iter()
            .filter(|item| item.starts_with(&prefix))
            .cloned()
            .collect();
        let sent: Vec<_> = (0..EACH)
            .map(|n| format!("{appender}:{n}").into_bytes())
            .collect();
        assert_eq!(own, sent, "each once, in order");
    }
    assert_balanced(&queue).await;
}

async fn a_crash_between_any_two_steps_loses_and_doubles_nothing<F: Fixture>() {
    // A consumer that crashes after `steps` steps of each round, forgetting everything; the next
    // one starts over with a handle of its own.
    let fixture = F::start();
    append(&fixture.queue(), items(0..20)).await;
    let mut round = 0;
    loop {
        let queue = fixture.queue();
        let steps = round % 5;
        round += 1;
        let lease = take_when_free(&queue, Stage::Transformer, CRASH_LEASE).await;
        if steps >= 1 {
            let peeked = queue.peek(&lease, 3).await.unwrap();
            if peeked.items.is_empty() {
                break;
            }
            let number = peeked.number;
            let (taken, outputs) = (peeked.items.len(), peeked.items);
            let change = Commit {
                number,
                take: taken,
                outputs,
                ..Commit::default()
            };
            match steps {
                2 => commit(&queue, &lease, change).await,
                3 => {
                    // Its answer is never read, as if the process had died waiting for it.
                    let queue = queue.clone();
                    let lease = lease.clone();
                    let sent = tokio::spawn(async move { queue.commit(&lease, &change).await });
                    let _ = sent.await.unwrap();
                }
                _ => {}
            }
        }
        if steps == 4 {
            queue.release(&lease).await.unwrap();
        }
    }
    let queue = fixture.queue();
    let sink = take(&queue, Stage::Sink).await;
    assert_eq!(
        peek(&queue, &sink).await.items,
        items(0..20),
        "each once, in order"
    );
    assert_balanced(&queue).await;
}

async fn large_commits_and_any_bytes_pass<F: Fixture>() {
    // Above the 4,000 values that a script may unpack at once, in every part of a commit.
    const MANY: usize = 9_001;
    let fixture = F::start();
    let queue = fixture.queue();
    let mut odd: Vec<Vec<u8>> = vec![Vec::new(), vec![0], vec![0xff, 0xfe], b"a\r\nb\n".to_vec()];
    odd.extend(items(4..MANY));
    append(&queue, odd.clone()).await;
    let long = Duration::from_secs(10);
    let lease = queue
        .lease(Stage::Transformer, &nonce(), long)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(peek(&queue, &lease).await.items, odd);
    let puts: Vec<_> = odd
        .iter()
        .skip(4)
        .map(|key| (key.clone(), vec![0, 1, 2]))
        .collect();
    let change = Commit {
        take: MANY,
        outputs: odd.clone(),
        dead: odd.clone(),
        puts,
        ..Commit::default()
    };
    commit(&queue, &lease, change).await;
    assert_eq!(queue.state(&lease).await.unwrap().len(), MANY - 4);
    let deletes = items(4..MANY);
    commit(
        &queue,
        &lease,
        Commit {
            number: 1,
            deletes,
            ..Commit::default()
        },
    )
    .await;
    assert!(queue.state(&lease).await.unwrap().is_empty());
    let sink = queue
        .lease(Stage::Sink, &nonce(), long)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(peek(&queue, &sink).await.items, odd);
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!(ledger.dead, i64::try_from(MANY).unwrap());
    assert_balanced(&queue).await;
}

async fn strangers_show_in_the_ledger<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..1)).await;
    fixture.push_foreign(List::Raw, "hello");
    fixture.push_foreign(List::Normalized, "world");
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!((ledger.raw_foreign(), ledger.rows_foreign()), (1, 1));
    let lease = take(&queue, Stage::Transformer).await;
    let expected = vec![item(0), b"hello".to_vec()];
    assert_eq!(peek(&queue, &lease).await.items, expected);
    commit(
        &queue,
        &lease,
        Commit {
            take: 2,
            ..Commit::default()
        },
    )
    .await;
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!(
        (ledger.raw_foreign(), ledger.get(Counter::RawTaken)),
        (1, 2),
        "still known"
    );
}

async fn a_head_that_a_stranger_changed_is_not_trimmed<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..3)).await;
    let lease = take(&queue, Stage::Transformer).await;
    let peeked = queue.peek(&lease, 2).await.unwrap();
    fixture.push_to_head(List::Raw, "stranger");
    let change = Commit {
        take: 2,
        last_taken: peeked.items.last().cloned(),
        outputs: items(7..8),
        ..Commit::default()
    };
    let refused = queue.commit(&lease, &change).await;
    assert_eq!(refused, Err(QueueError::Shifted));
    let mut expected = vec![b"stranger".to_vec()];
    expected.extend(items(0..3));
    let peeked = peek(&queue, &lease).await;
    assert_eq!((&peeked.items, peeked.output_length), (&expected, 0));
    let (take, last_taken) = (4, peeked.items.last().cloned());
    commit(
        &queue,
        &lease,
        Commit {
            take,
            last_taken,
            ..Commit::default()
        },
    )
    .await;
    let ledger = queue.snapshot().await.unwrap().ledger;
    assert_eq!((ledger.raw, ledger.raw_foreign()), (0, 1));
}

async fn a_flushed_queue_is_noticed<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    let old = take(&queue, Stage::Ingester).await;
    append(&queue, items(0..5)).await;
    let mut resets = Resets::default();
    let before = queue.snapshot().await.unwrap();
    assert!(!before.instance.is_empty());
    assert!(before.server_time.distance(Clock::system().now()) < Duration::from_secs(5));
    assert!(!resets.check(&before, 0));
    fixture.flush();
    assert_eq!(queue.renew(&old).await, Err(QueueError::Fenced));
    let new = take(&queue, Stage::Ingester).await;
    assert_ne!(
        new.token, old.token,
        "tokens of an earlier life don't come back"
    );
    let after = queue.snapshot().await.unwrap();
    assert_ne!(after.instance, before.instance);
    assert!(resets.check(&after, 0));
    append(&queue, items(0..1)).await;
    assert_balanced(&queue).await;
}
