//! Positions of a source, which are set with the elements that were read up to there.

use model::position::{PositionStep, Positions};
use queue::{Append, Appended, Queue};

use crate::contract::{append, assert_balanced, ledger_of};
use crate::fixture::{Fixture, items, settings};

fn step(partition: &str, from: &str, to: &str) -> PositionStep {
    PositionStep {
        partition: partition.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

fn read(raw: Vec<Vec<u8>>, steps: &[PositionStep]) -> Append {
    Append {
        raw,
        dead: vec![b"a dead letter".to_vec()],
        steps: steps.to_vec(),
        ..Append::default()
    }
}

async fn positions_of<Q: Queue>(queue: &Q) -> Vec<(String, String)> {
    queue.positions().await.unwrap().into_iter().collect()
}

fn expected(positions: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = positions.iter();
    owned
        .map(|&(partition, position)| (partition.to_owned(), position.to_owned()))
        .collect()
}

pub(crate) async fn append_with_positions_is_applied_once<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    assert_eq!(queue.positions().await.unwrap(), Positions::new());
    let first = read(items(0..3), &[step("t/0", "", "3"), step("t/1", "", "a")]);
    let done = queue.append(&first).await.unwrap();
    assert!(
        matches!(
            done,
            Appended::Done {
                length: 3,
                accepted: 3
            }
        ),
        "{done:?}"
    );
    assert_eq!(
        positions_of(&queue).await,
        expected(&[("t/0", "3"), ("t/1", "a")])
    );

    let before = ledger_of(&queue).await;
    assert_eq!(
        queue.append(&first).await.unwrap(),
        done,
        "it was applied already"
    );
    assert_eq!(ledger_of(&queue).await, before);

    let next = read(items(3..5), &[step("t/0", "3", "5")]);
    let done = queue.append(&next).await.unwrap();
    assert!(
        matches!(
            done,
            Appended::Done {
                length: 5,
                accepted: 5
            }
        ),
        "{done:?}"
    );
    assert_eq!(
        positions_of(&queue).await,
        expected(&[("t/0", "5"), ("t/1", "a")])
    );
    assert_balanced(&queue).await;
}

pub(crate) async fn append_with_another_position_changes_nothing<F: Fixture>() {
    let fixture = F::start();
    let queue = fixture.queue();
    let first = read(items(0..1), &[step("t/0", "", "1"), step("t/1", "", "1")]);
    queue.append(&first).await.unwrap();
    let before = ledger_of(&queue).await;
    for steps in [
        // Of a process that has read less, or more, or never.
        vec![step("t/0", "0", "2")],
        vec![step("t/0", "2", "3")],
        vec![step("t/0", "", "2")],
        // One partition fits; of the other one somebody else has read on.
        vec![step("t/0", "1", "2"), step("t/1", "0", "2")],
        vec![step("t/0", "0", "1"), step("t/1", "1", "2")],
    ] {
        let moved = queue.append(&read(items(1..2), &steps)).await.unwrap();
        assert_eq!(moved, Appended::Moved, "{steps:?}");
    }
    assert_eq!(ledger_of(&queue).await, before);
    assert_eq!(
        positions_of(&queue).await,
        expected(&[("t/0", "1"), ("t/1", "1")])
    );
    // An append without positions isn't concerned.
    append(&queue, items(1..2)).await;
}

pub(crate) async fn full_list_keeps_positions<F: Fixture>() {
    let mut limited = settings();
    limited.limits.queue_limit = 2;
    let fixture = F::start();
    let queue = fixture.open(&limited);
    let first = read(items(0..2), &[step("t/0", "", "2")]);
    queue.append(&first).await.unwrap();
    let next = read(items(2..3), &[step("t/0", "2", "3")]);
    let full = queue.append(&next).await.unwrap();
    assert_eq!(full, Appended::Full { length: 2 });
    assert_eq!(positions_of(&queue).await, expected(&[("t/0", "2")]));
    // What was applied is acknowledged, although the list is full by now.
    let again = queue.append(&first).await.unwrap();
    assert!(matches!(again, Appended::Done { .. }), "{again:?}");
}
