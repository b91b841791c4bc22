//! Guarantees about dead letters.

use model::dead_letter::{DeadLetter, Handled, Reason, Rejection, Summary, encode};
use model::{Stage, Timestamp};
use queue::ledger::Counter;
use queue::list::List;
use queue::{Append, Appended, DeadLetterEntry, DeadLetters, Kinds, Queue, Replay, Replayed};

use crate::contract::{append, assert_balanced};
use crate::fixture::{Fixture, item, items, peek, settings, take};

pub(crate) async fn dead_letters_are_counted_by_kind<F: Fixture>()
where
    F::Q: DeadLetters,
{
    let fixture = F::start();
    let queue = fixture.open(&settings());
    assert_eq!(queue.dead_letter_kinds().await, Ok(Kinds::default()));
    let letter = |stage, reason| {
        let rejection = Rejection::new(reason, "why");
        encode(stage, &rejection, "t", b"p", Timestamp::from_nanos(7))
    };
    let kinds = [
        (Stage::Ingester, Reason::Past, 12_000),
        (Stage::Sink, Reason::Past, 1),
        (Stage::Ingester, Reason::Future, 2),
    ];
    for (stage, reason, count) in kinds {
        append_dead(&queue, vec![letter(stage, reason); count]).await;
    }
    let marked = DeadLetter::marked(&letter(Stage::Sink, Reason::Past), Timestamp::from_nanos(8));
    append_dead(&queue, vec![marked, item(1), item(2)]).await;
    let of = |stage, reason, handled| {
        Some(Summary {
            stage,
            reason,
            handled,
        })
    };
    let expected = kinds.map(|(stage, reason, count)| (of(stage, reason, None), count));
    let others = [
        (of(Stage::Sink, Reason::Past, Some(Handled::Replayed)), 1),
        (None, 2),
    ];
    let counted = queue.dead_letter_kinds().await.unwrap();
    assert_eq!(counted.0, [&expected[..], &others].concat());
}

/// Appends dead letters.
async fn append_dead<Q: Queue>(queue: &Q, dead: Vec<Vec<u8>>) {
    let raw = Vec::new();
    let appended = queue
        .append(&Append {
            raw,
            dead,
            ..Append::default()
        })
        .await
        .unwrap();
    assert!(matches!(appended, Appended::Done { .. }), "{appended:?}");
}

pub(crate) async fn dead_letters_are_replayed_once_and_marked<F: Fixture>()
where
    F::Q: DeadLetters,
{
    let fixture = F::start();
    let mut small = settings();
    (small.limits.dead_letter_limit, small.limits.queue_limit) = (4, 2);
    let queue = fixture.open(&small);
    append_dead(&queue, items(0..4)).await;
    let letters = queue.dead_letters(1, 2).await.unwrap();
    let elements = |letters: &[DeadLetterEntry]| -> Vec<_> {
        letters.iter().map(|l| l.element.clone()).collect()
    };
    assert_eq!(elements(&letters), items(1..3));
    assert_eq!(queue.dead_letters(4, 9).await.unwrap(), []);

    // The oldest one is trimmed, so the positions of the others change.
    append_dead(&queue, items(4..5)).await;
    let once_more = |list, number: usize| Replay {
        entry: letters[1].clone(),
        marked: b"item-2, marked".to_vec(),
        list,
        elements: vec![item(number)],
    };
    let replay = once_more(List::Raw, 102);
    assert_eq!(queue.replay(&replay).await, Ok(Replayed::Done));
    assert_eq!(queue.replay(&replay).await, Ok(Replayed::Gone), "marked");
    let rows = Replay {
        entry: letters[0].clone(),
        elements: items(101..103),
        ..once_more(List::Normalized, 101)
    };
    assert_eq!(queue.replay(&rows).await, Ok(Replayed::Done));
    let found = queue.dead_letters(0, 9).await.unwrap();
    let marked = b"item-2, marked".to_vec();
    assert_eq!(
        elements(&found),
        [marked.clone(), marked, item(3), item(4)],
        "in their places"
    );

    let lease = take(&queue, Stage::Transformer).await;
    assert_eq!(peek(&queue, &lease).await.items, [item(102)]);
    let lease = take(&queue, Stage::Sink).await;
    assert_eq!(peek(&queue, &lease).await.items, items(101..103));
    let ledger = queue.snapshot().await.unwrap().ledger;
    let replayed = [Counter::RawReplayed, Counter::RowsReplayed].map(|c| ledger.get(c));
    assert_eq!(replayed, [1, 2], "elements are counted");
    assert_balanced(&queue).await;

    append(&queue, items(5..6)).await;
    let full = Replay {
        entry: found[2].clone(),
        ..once_more(List::Raw, 103)
    };
    assert_eq!(queue.replay(&full).await, Ok(Replayed::Full { length: 2 }));
    assert_eq!(
        queue.dead_letters(0, 9).await.unwrap(),
        found,
        "as they were"
    );
    // The marks count, too: the limit in bytes trims all of them.
    let none = "the letters' bytes are counted as they are now";
    (small.limits.dead_letter_bytes, small.limits.queue_limit) = (6, 9);
    append_dead(&fixture.open(&small), items(7..8)).await;
    let left = queue.dead_letters(0, 9).await.unwrap();
    assert_eq!(elements(&left), items(7..8), "{none}");
}

pub(crate) async fn dead_letters_are_discarded_once<F: Fixture>()
where
    F::Q: DeadLetters,
{
    let fixture = F::start();
    let mut small = settings();
    (small.limits.dead_letter_limit, small.limits.queue_limit) = (3, 1);
    let queue = fixture.open(&small);
    append_dead(&queue, items(0..3)).await;
    let letters = queue.dead_letters(0, 9).await.unwrap();
    // The oldest one is trimmed, so the positions of the others change.
    append_dead(&queue, items(3..4)).await;
    append(&queue, items(8..9)).await;

    let full = "a full list doesn't matter, since nothing is appended";
    assert_eq!(
        queue.discard(&letters[1], b"left").await,
        Ok(true),
        "{full}"
    );
    assert_eq!(queue.discard(&letters[1], b"left").await, Ok(false));
    assert_eq!(
        queue.discard(&letters[0], b"left").await,
        Ok(false),
        "trimmed"
    );
    let replay = Replay {
        entry: letters[1].clone(),
        marked: b"marked".to_vec(),
        list: List::Normalized,
        elements: items(1..2),
    };
    assert_eq!(queue.replay(&replay).await, Ok(Replayed::Gone));
    let found = queue.dead_letters(0, 9).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|letter| letter.element).collect();
    assert_eq!(found, [b"left".to_vec(), item(2), item(3)], "in its place");
    let ledger = queue.snapshot().await.unwrap().ledger;
    let counters = [Counter::RawReplayed, Counter::RowsReplayed].map(|c| ledger.get(c));
    assert_eq!((counters, ledger.raw), ([0, 0], 1));
    assert_balanced(&queue).await;
    // What is left of it counts with its own size.
    small.limits.dead_letter_bytes = 4 + 2 * item(2).len() + item(5).len();
    (small.limits.dead_letter_limit, small.limits.queue_limit) = (9, 9);
    append_dead(&fixture.open(&small), items(5..6)).await;
    assert_eq!(queue.dead_letters(0, 9).await.unwrap().len(), 4);
}
