//! Full lists, elements of external producers, and wrong clocks.

use common::health::Status;
use std::time::Duration;

use common::clock::Clock;
use model::Stage;
use queue::ledger::Counter;
use queue::list::List;
use queue::settings::QueueSettings;
use queue::testing::{TempQueue, assert_exact, assert_holds, limited};
use serde_json::Value;

use crate::fixture::{
    NEVER, SENSORS, at, decode, done, reading, reading_of, row, rows_in, settings, start, start_at,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_normalized_list_pauses_the_stage_until_it_is_drained() {
    let queue = TempQueue::new(limited(|limits| {
        (limits.batch, limits.queue_limit) = (6, 4);
    }));
    let readings = |second| SENSORS.map(|sensor| reading("R", second, sensor, 1.0));
    queue.append((0..20).flat_map(readings).collect()).await;
    let stage = start(&queue, Duration::from_millis(10));
    queue.wait_for(|ledger| ledger.normalized >= 4).await;
    // Reported by a step that has seen the full list and taken nothing.
    stage.until("normalized_list", Status::Down).await;
    let ledger = queue.ledger().await;
    assert_exact(&ledger);
    assert_eq!((ledger.raw, ledger.normalized), (48, 4));
    let mut rows = Vec::new();
    while rows.len() < 20 {
        queue.wait_for(|ledger| ledger.normalized > 0).await;
        rows.extend(decode(&queue.drain(Stage::Sink).await));
    }
    stage.stop().await;
    let fields = SENSORS.map(|sensor| (sensor, 1.0));
    let expected: Vec<_> = (0..20).map(|second| row("R", second, &fields)).collect();
    assert_eq!(rows, expected);
    let ledger = queue.ledger().await;
    assert_exact(&ledger);
    assert_eq!((ledger.raw, ledger.get(Counter::RowsStored)), (0, 20));
}

/// The dead letters in the list.
fn letters(queue: &TempQueue) -> Vec<Value> {
    let letters = queue.items(List::Dead).into_iter();
    letters
        .map(|letter| serde_json::from_slice(&letter).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elements_of_external_producers_are_taken_or_become_dead_letters() {
    let queue = TempQueue::new(QueueSettings {
        raw_queue: "readings_of_ours".into(),
        ..limited(|limits| limits.batch = 4)
    });
    let bad: [&[u8]; 8] = [
        b"hello",
        b"",
        b"[1]",
        b"{}",
        b"\xff\xfe",
        br#"{"rig_id":"R","sensor":"a","timestamp":"2025-11-02T14:00:00Z","value":1}"#,
        br#"{"rig_id":"R","sensor":"a","timestamp":"2025-11-02T14:00:00Z","value":1e999,"ingest_time":"2025-11-02T14:00:00Z"}"#,
        br#"{"rig_id":"R","sensor":"time","timestamp":"2025-11-02T14:00:00Z","value":1,"ingest_time":"2025-11-02T14:00:00Z"}"#,
    ];
    for (place, item) in bad.into_iter().enumerate() {
        queue.push_foreign(List::Raw, item);
        if place == 3 {
            // A valid element of an external producer.
            queue.push_foreign(List::Raw, &reading("R", 0, "a", 1.0));
        }
    }
    queue
        .append(vec![reading("R", 0, "b", 2.0), reading("R", 0, "c", 3.0)])
        .await;
    let stage = start(&queue, NEVER);
    let ledger = done(&queue, 1).await;
    stage.stop().await;
    let fields = [("a", 1.0), ("b", 2.0), ("c", 3.0)];
    assert_eq!(rows_in(&queue), [row("R", 0, &fields)]);
    assert_holds(&ledger);
    assert_eq!((ledger.raw_foreign(), ledger.rows_foreign()), (9, 0));
    assert_eq!(ledger.get(Counter::DeadTransformer), 8);
    let letters = letters(&queue);
    for (letter, item) in letters.iter().zip(bad) {
        assert_eq!(letter["stage"], "transformer");
        assert_eq!(letter["reason"], "bad_element", "{letter}");
        assert_eq!(letter["topic"], "readings_of_ours");
        if item == b"\xff\xfe" {
            assert_eq!(
                (&letter["encoding"], &letter["payload"]),
                (&"base64".into(), &"//4=".into())
            );
        } else {
            assert_eq!(letter["payload"].as_str().unwrap().as_bytes(), item);
        }
    }
    assert_eq!(letters.len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_are_checked_against_the_arrival_not_the_clock() {
    let ahead = Duration::from_hours(24 * 365);
    for clock in [Clock::system(), Clock::ahead(ahead), Clock::behind(ahead)] {
        let queue = TempQueue::new(queue::testing::settings());
        let arrived = at(0, 0);
        let of = |timestamp| reading_of("R", timestamp, "a", 1.0, arrived);
        let (most_ahead, oldest) = (Duration::from_mins(1), Duration::from_hours(24));
        let tick = Duration::from_nanos(1);
        queue
            .append(vec![
                of(arrived.minus(oldest)),
                of(arrived.minus(oldest).minus(tick)),
                of(arrived.plus(most_ahead)),
                of(arrived.plus(most_ahead).plus(tick)),
            ])
            .await;
        let stage = start_at(
            clock,
            queue.open(),
            settings(&queue, Duration::from_millis(10)),
        );
        let ledger = done(&queue, 2).await;
        stage.stop().await;
        assert_exact(&ledger);
        let reasons: Vec<_> = letters(&queue)
            .iter()
            .map(|letter| letter["reason"].clone())
            .collect();
        assert_eq!(reasons, ["past", "future"]);
        let ticks: Vec<_> = rows_in(&queue)
            .into_iter()
            .map(|(_, tick, _)| tick)
            .collect();
        assert_eq!(ticks, [arrived.minus(oldest), arrived.plus(most_ahead)]);
    }
}
