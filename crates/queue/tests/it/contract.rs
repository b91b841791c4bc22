//! The guarantees of every queue.

use std::time::Duration;

use common::clock::Clock;
use common::harness::Process;
use common::health::Dependency;
use model::Stage;
use queue::ledger::{Counter, Ledger};
use queue::list::List;
use queue::resets::ResetDetector;
use queue::settle::{Settled, settle};
use queue::testing::{Fate, Lossy};
use queue::{Append, Appended, Commit, Lease, Queue, QueueError};

use crate::dead_letters::{
    dead_letters_are_counted_by_kind, dead_letters_are_discarded_once,
    dead_letters_are_replayed_once_and_marked,
};
use crate::fixture::{
    Fixture, LEASE, OnMemory, OnRedis, OnSqlite, SHORT_LEASE, is_wrong_type, item, items, nonce,
    peek, settings, take, take_for, take_when_free,
};
use crate::positions::{
    append_with_another_position_changes_nothing, append_with_positions_is_applied_once,
    full_list_keeps_positions,
};
use crate::trimming::{
    inputs_beyond_their_quota_are_counted_as_dead_and_trimmed,
    oldest_dead_letters_are_trimmed_and_counted,
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
    appended_elements_are_peeked_in_order
    commit_is_atomic
    state_is_put_deleted_and_read
    lease_has_one_holder
    standby_acquires_the_lease_after_release_and_expiry
    stale_token_is_refused
    wrong_number_is_refused
    commit_with_a_lost_reply_is_settled
    overtaken_commit_is_lost
    full_list_refuses_appends_and_drains
    oldest_dead_letters_are_trimmed_and_counted
    inputs_beyond_their_quota_are_counted_as_dead_and_trimmed
    concurrent_appends_and_commits_lose_nothing
    crash_between_steps_loses_and_doubles_nothing
    large_commits_and_any_bytes_are_accepted
    external_elements_are_counted_as_foreign
    commit_is_refused_after_an_external_change_of_the_head
    flushed_queue_is_detected
    append_with_positions_is_applied_once
    append_with_another_position_changes_nothing
    full_list_keeps_positions
    consumer_without_a_list_commits_its_state_only;
    // Not in memory: lists have a fixed type there, and dead letters aren't replayed.
    not_in_memory:
    keys_of_a_wrong_type_change_nothing
    dead_letters_are_replayed_once_and_marked
    dead_letters_are_discarded_once
    dead_letters_are_counted_by_kind
}

/// A commit that takes elements and makes no other change.
fn taking(number: u64, take: usize) -> Commit {
    Commit {
        number,
        take,
        ..Commit::default()
    }
}

pub(crate) async fn ledger_of<Q: Queue>(queue: &Q) -> Ledger {
    queue.snapshot().await.unwrap().ledger
}

pub(crate) async fn append<Q: Queue>(queue: &Q, raw: Vec<Vec<u8>>) {
    let appended = queue
        .append(&Append {
            raw,
            dead: Vec::new(),
            ..Append::default()
        })
        .await
        .unwrap();
    assert!(matches!(appended, Appended::Done { .. }), "{appended:?}");
}

pub(crate) async fn commit<Q: Queue>(queue: &Q, lease: &Lease, commit: Commit) {
    queue.commit(lease, &commit).await.unwrap();
}

/// Settles a commit of a process that isn't stopped.
async fn settled<Q: Queue>(queue: &Q, lease: &Lease, commit: &Commit) -> Settled {
    let nothing = Dependency::unreported("queue");
    settle(queue, lease, commit, &nothing, &Process::default()).await
}

/// Asserts that no elements are foreign, and that the ledger's line of dead letters holds.
pub(crate) async fn assert_balanced<Q: Queue>(queue: &Q) {
    let ledger = ledger_of(queue).await;
    assert_eq!(
        (ledger.raw_foreign(), ledger.rows_foreign()),
        (0, 0),
        "{ledger:?}"
    );
    let dead = &ledger.lines()[5];
    assert_eq!(dead.left, dead.right, "{ledger:?}");
}

async fn appended_elements_are_peeked_in_order<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..3)).await;
    append(&queue, items(3..5)).await;
    let lease = take(&queue, Stage::Transformer).await;
    let first = queue.peek(&lease, 0, 2).await.unwrap();
    assert_eq!(
        (first.items, first.length, first.number),
        (items(0..2), 5, 0)
    );
    assert_eq!(
        peek(&queue, &lease).await.items,
        items(0..5),
        "a peek removes nothing"
    );
    for (skip, max, expected) in [(2, 2, 2..4), (2, 9, 2..5), (5, 9, 5..5), (9, 9, 5..5)] {
        let ahead = queue.peek(&lease, skip, max).await.unwrap();
        assert_eq!((ahead.items, ahead.length), (items(expected), 5), "{skip}");
    }
    commit(&queue, &lease, taking(0, 2)).await;
    let ahead = queue.peek(&lease, 1, 1).await.unwrap();
    assert_eq!(ahead.items, items(3..4), "skipped from the head of now");
    let next = peek(&queue, &lease).await;
    assert_eq!((next.items, next.number), (items(2..5), 1));
    assert_eq!(ledger_of(&queue).await.get(Counter::Accepted), 5);
}

async fn commit_is_atomic<F: Fixture>() {
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
    // A commit that takes nothing increments the number, too.
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
    let ledger = ledger_of(&queue).await;
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
    let ledger = ledger_of(&queue).await;
    assert_eq!(
        (
            ledger.get(Counter::RowsTaken),
            ledger.get(Counter::RowsStored)
        ),
        (2, 2)
    );
    assert_balanced(&queue).await;
}

async fn state_is_put_deleted_and_read<F: Fixture>() {
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

/// The lease of a consumer that crashes: the next one waits until it expires.
const CRASH_LEASE: Duration = Duration::from_secs(1);
/// Long enough that a busy machine renews it in time, short enough to expire within a test.
const RENEWED_LEASE: Duration = Duration::from_secs(2);

async fn lease_has_one_holder<F: Fixture>() {
    let fixture = F::start();
    let (queue, other) = (fixture.queue(), fixture.queue());
    let mine = nonce();
    let ask = || queue.lease(Stage::Sink, &mine, RENEWED_LEASE);
    let (given, again) = (ask().await.unwrap(), ask().await.unwrap());
    assert_eq!(again, given, "a retry returns the same lease");
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
        commit(&queue, &lease, taking(number, 0)).await;
        assert_eq!(
            other.lease(Stage::Sink, &nonce(), LEASE).await,
            Ok(None),
            "committed"
        );
    }
}

async fn standby_acquires_the_lease_after_release_and_expiry<F: Fixture>() {
    let fixture = F::start();
    let (queue, standby) = (fixture.queue(), fixture.queue());
    let first = take(&queue, Stage::Sink).await;
    queue.release(&first).await.unwrap();
    let second = take_for(&standby, Stage::Sink, RENEWED_LEASE).await;
    assert_eq!(
        queue.release(&first).await,
        Err(QueueError::Fenced),
        "another consumer holds it"
    );
    standby.renew(&second).await.unwrap();
    tokio::time::sleep(RENEWED_LEASE + Duration::from_millis(100)).await;
    let third = take(&queue, Stage::Sink).await;
    assert_eq!(standby.renew(&second).await, Err(QueueError::Fenced));
    assert!(first.token != second.token && second.token != third.token);
}

async fn stale_token_is_refused<F: Fixture>() {
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
        "it has expired"
    );
    let new = take(&other, Stage::Transformer).await;
    assert_eq!(
        frozen.commit(&old, &change).await,
        Err(QueueError::Fenced),
        "another consumer holds it"
    );
    assert_eq!(frozen.state(&old).await, Err(QueueError::Fenced));
    assert_eq!(peek(&other, &new).await, peeked, "nothing was changed");
    assert!(other.state(&new).await.unwrap().is_empty());
    assert_eq!(ledger_of(&other).await.get(Counter::InRows), 0);
}

async fn wrong_number_is_refused<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..2)).await;
    let lease = take(&queue, Stage::Transformer).await;
    commit(&queue, &lease, taking(0, 1)).await;
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

async fn commit_with_a_lost_reply_is_settled<F: Fixture>() {
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

async fn overtaken_commit_is_lost<F: Fixture>() {
    // Applied, the reply lost, and the lease lost before the number could be read.
    let fixture = F::start();
    let (queue, other) = (fixture.queue(), fixture.queue());
    append(&queue, items(0..4)).await;
    let old = take(&queue, Stage::Transformer).await;
    let change = taking(0, 1);
    commit(&queue, &old, change.clone()).await;
    queue.release(&old).await.unwrap();
    let lossy = Lossy::new(queue.clone(), &[Fate::Dropped]);
    assert_eq!(
        settled(&lossy, &old, &change).await,
        Settled::Applied,
        "one more, by this token"
    );

    let new = take(&other, Stage::Transformer).await;
    commit(&other, &new, taking(1, 1)).await;
    let lossy = Lossy::new(queue, &[Fate::Dropped]);
    let lost = settled(&lossy, &old, &change).await;
    assert!(matches!(lost, Settled::Lost(_)), "two more: {lost:?}");
    let change = taking(1, 1);
    let lossy = Lossy::new(fixture.queue(), &[Fate::Dropped]);
    let lost = settled(&lossy, &old, &change).await;
    assert!(
        matches!(lost, Settled::Lost(_)),
        "one more, but by another token: {lost:?}"
    );
    assert_eq!(
        peek(&other, &new).await.items,
        items(2..4),
        "no unread element was trimmed"
    );
}

async fn keys_of_a_wrong_type_change_nothing<F: Fixture>() {
    for list in [List::Raw, List::Normalized, List::Dead] {
        let fixture = F::start();
        let queue = fixture.queue();
        let dead = Append {
            raw: items(0..2),
            dead: items(90..91),
            ..Append::default()
        };
        queue.append(&dead).await.unwrap();
        let lease = take(&queue, Stage::Transformer).await;
        let before = (peek(&queue, &lease).await, ledger_of(&queue).await);
        let change = Commit {
            take: 1,
            outputs: items(5..6),
            dead: items(6..7),
            puts: vec![(b"k".to_vec(), b"v".to_vec())],
            ..Commit::default()
        };
        fixture.replace_key(list);
        let refused = queue.commit(&lease, &change).await;
        assert!(is_wrong_type(&refused), "{list:?}: {refused:?}");
        if list != List::Normalized {
            let refused = queue.append(&dead).await;
            assert!(is_wrong_type(&refused), "{list:?}: {refused:?}");
        }
        let snapshot = queue.snapshot().await;
        assert!(is_wrong_type(&snapshot), "{list:?}: {snapshot:?}");
        if list == List::Raw {
            let peeked = queue.peek(&lease, 0, 1).await;
            assert!(is_wrong_type(&peeked), "{peeked:?}");
        }
        fixture.restore(list);
        let after = (peek(&queue, &lease).await, ledger_of(&queue).await);
        assert_eq!(after, before, "{list:?}");
        commit(&queue, &lease, change).await;
        assert_balanced(&queue).await;
    }
}

async fn full_list_refuses_appends_and_drains<F: Fixture>() {
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
            ..Append::default()
        })
        .await
        .unwrap();
    assert_eq!(
        full,
        Appended::Full { length: 7 },
        "one call may exceed the limit, the next is refused"
    );
    assert_eq!(ledger_of(&queue).await.dead, 0, "all or nothing");
    let lease = take(&queue, Stage::Transformer).await;
    // A commit doesn't check the limit.
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

async fn concurrent_appends_and_commits_lose_nothing<F: Fixture>() {
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
        let peeked = queue.peek(&lease, 0, 7).await.unwrap();
        let (number, take_now) = (peeked.number, peeked.items.len());
        match queue.commit(&lease, &taking(number, take_now)).await {
            Ok(()) => seen.extend(peeked.items),
            // On a slow machine the lease may expire; then nothing was taken.
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

async fn crash_between_steps_loses_and_doubles_nothing<F: Fixture>() {
    // A consumer crashes after `steps` steps of each round and loses its memory. The next one starts with
    // a new handle.
    let fixture = F::start();
    append(&fixture.queue(), items(0..20)).await;
    let mut round = 0;
    loop {
        let queue = fixture.queue();
        let steps = round % 5;
        round += 1;
        let lease = take_when_free(&queue, Stage::Transformer, CRASH_LEASE).await;
        if steps >= 1 {
            let peeked = queue.peek(&lease, 0, 3).await.unwrap();
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
                    // The reply isn't read, as if the process had been killed.
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

async fn large_commits_and_any_bytes_are_accepted<F: Fixture>() {
    // More than the 4,000 values that a script unpacks at once, in every part of a commit.
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
    let ledger = ledger_of(&queue).await;
    assert_eq!(ledger.dead, i64::try_from(MANY).unwrap());
    assert_balanced(&queue).await;
}

async fn external_elements_are_counted_as_foreign<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..1)).await;
    fixture.push_foreign(List::Raw, "hello");
    fixture.push_foreign(List::Normalized, "world");
    let ledger = ledger_of(&queue).await;
    assert_eq!((ledger.raw_foreign(), ledger.rows_foreign()), (1, 1));
    let lease = take(&queue, Stage::Transformer).await;
    let expected = vec![item(0), b"hello".to_vec()];
    assert_eq!(peek(&queue, &lease).await.items, expected);
    commit(&queue, &lease, taking(0, 2)).await;
    let ledger = ledger_of(&queue).await;
    assert_eq!(
        (ledger.raw_foreign(), ledger.get(Counter::RawTaken)),
        (1, 2),
        "still counted"
    );
}

async fn commit_is_refused_after_an_external_change_of_the_head<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..3)).await;
    let lease = take(&queue, Stage::Transformer).await;
    let peeked = queue.peek(&lease, 0, 2).await.unwrap();
    fixture.push_to_head(List::Raw, "external");
    let change = Commit {
        take: 2,
        last_taken: peeked.items.last().cloned(),
        outputs: items(7..8),
        ..Commit::default()
    };
    let refused = queue.commit(&lease, &change).await;
    assert_eq!(refused, Err(QueueError::Shifted));
    let mut expected = vec![b"external".to_vec()];
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
    let ledger = ledger_of(&queue).await;
    assert_eq!((ledger.raw, ledger.raw_foreign()), (0, 1));
}

async fn flushed_queue_is_detected<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    let old = take(&queue, Stage::Ingester).await;
    append(&queue, items(0..5)).await;
    let mut resets = ResetDetector::default();
    let before = queue.snapshot().await.unwrap();
    assert!(!before.instance.is_empty());
    assert!(before.server_time.distance(Clock::system().now()) < Duration::from_secs(5));
    assert!(!resets.check(&before, 0));
    fixture.flush();
    assert_eq!(queue.renew(&old).await, Err(QueueError::Fenced));
    let new = take(&queue, Stage::Ingester).await;
    assert_ne!(new.token, old.token, "tokens aren't reused after a flush");
    let after = queue.snapshot().await.unwrap();
    assert_ne!(after.instance, before.instance);
    assert!(resets.check(&after, 0));
    append(&queue, items(0..1)).await;
    assert_balanced(&queue).await;
}

async fn consumer_without_a_list_commits_its_state_only<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    append(&queue, items(0..3)).await;
    let lease = take(&queue, Stage::Alerts).await;
    let ledger = ledger_of(&queue).await;
    let peeked = peek(&queue, &lease).await;
    assert_eq!(peeked, queue::Peek::default(), "it has no list");
    let put = |value: &str| vec![(b"alert".to_vec(), value.as_bytes().to_vec())];
    let change = |number, value| Commit {
        number,
        puts: put(value),
        ..Commit::default()
    };
    commit(&queue, &lease, change(0, "firing")).await;
    let again = queue.commit(&lease, &change(0, "again")).await;
    assert!(
        matches!(again, Err(QueueError::Conflict { found: 1, .. })),
        "{again:?}"
    );
    assert_eq!(peek(&queue, &lease).await.number, 1);
    assert_eq!(queue.state(&lease).await.unwrap(), put("firing"));
    assert_eq!(ledger_of(&queue).await, ledger, "no counter and no list");
    // Stages have leases, numbers and states of their own.
    let transformer = take(&queue, Stage::Transformer).await;
    assert_eq!(peek(&queue, &transformer).await.items, items(0..3));
    assert_eq!(queue.progress(Stage::Transformer).await.unwrap().number, 0);
    // The next holder has the state, and the last one can't change it any more.
    queue.release(&lease).await.unwrap();
    let next = take(&fixture.queue(), Stage::Alerts).await;
    let stale = queue.commit(&lease, &change(1, "stale")).await;
    assert_eq!(stale, Err(QueueError::Fenced));
    assert_eq!(queue.state(&next).await.unwrap(), put("firing"));
}
