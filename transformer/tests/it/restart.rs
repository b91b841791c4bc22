//! Restarts, lost replies and lost leases: nothing lost, nothing doubled.

use common::health::Status;
use std::time::Duration;

use queue::ledger::Counter;
use queue::list::List;
use queue::settings::QueueSettings;
use queue::testing::{Delivery, FaultyQueue, TempQueue, assert_exact};

use crate::fixture::{
    NEVER, SENSORS, done, queue_of, reading, row, rows_in, settings, start, start_on,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    Killed,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_restores_open_rows_and_emitted_cells() {
    for end in [End::Stopped, End::Killed] {
        let queue = queue_of(5_000);
        let stage = start(&queue, NEVER);
        queue
            .append(vec![
                reading("OPEN", 0, "a", 1.0),
                reading("OPEN", 0, "b", 2.0),
                reading("DONE", 0, "a", 1.0),
                reading("DONE", 0, "b", 2.0),
                reading("DONE", 0, "c", 3.0),
            ])
            .await;
        done(&queue, 1).await;
        match end {
            End::Stopped => stage.stop().await,
            End::Killed => {
                stage.kill().await;
                queue.expire_leases();
            }
        }
        let ledger = queue.ledger().await;
        assert_exact(&ledger);
        assert_eq!(rows_in(&queue).len(), 1, "the open row stays in the state");
        assert_eq!(ledger.get(Counter::OpenReadings), 2);

        let stage = start(&queue, NEVER);
        queue
            .append(vec![
                reading("DONE", 0, "a", 1.0),
                reading("DONE", 0, "b", 2.5),
                reading("OPEN", 0, "a", 1.0),
                reading("OPEN", 0, "b", 2.5),
                reading("OPEN", 0, "c", 3.0),
            ])
            .await;
        let ledger = done(&queue, 2).await;
        stage.stop().await;
        let fields = [("a", 1.0), ("b", 2.0), ("c", 3.0)];
        let expected = [row("DONE", 0, &fields), row("OPEN", 0, &fields)];
        assert_eq!(rows_in(&queue), expected, "{end:?}: no second row");
        assert_exact(&ledger);
        let counted = [Counter::Repeated, Counter::Superseded, Counter::RowsOut];
        assert_eq!(counted.map(|counter| ledger.get(counter)), [2, 2, 2]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_open_at_the_stop_is_flushed_after_the_restart() {
    let queue = queue_of(5_000);
    let stage = start(&queue, NEVER);
    queue.append(vec![reading("R", 0, "a", 1.0)]).await;
    queue.wait_count(Counter::RawTaken, 1).await;
    stage.stop().await;
    assert_eq!(rows_in(&queue), []);
    // Nothing arrives: the restored row's timer flushes it.
    let stage = start(&queue, Duration::from_millis(100));
    let ledger = done(&queue, 1).await;
    stage.stop().await;
    assert_eq!(rows_in(&queue), [row("R", 0, &[("a", 1.0)])]);
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::OpenReadings), 0);
}

/// Complete rows, one for each second.
async fn append_rows(queue: &TempQueue, seconds: std::ops::Range<i64>) {
    let all = seconds
        .flat_map(|second| SENSORS.map(|sensor| reading("R", second, sensor, 1.0)))
        .collect();
    queue.append(all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_within_a_stream_lose_and_double_nothing() {
    let queue = queue_of(7);
    for round in 0..12 {
        append_rows(&queue, round * 10..round * 10 + 10).await;
        let before = queue.ledger().await.get(Counter::RawTaken);
        let stage = start(&queue, NEVER);
        queue.wait_count(Counter::RawTaken, before + round).await;
        if round % 2 == 0 {
            stage.stop().await;
        } else {
            stage.kill().await;
            queue.expire_leases();
        }
        assert_exact(&queue.ledger().await);
    }
    let stage = start(&queue, NEVER);
    let ledger = done(&queue, 120).await;
    stage.stop().await;
    let fields = SENSORS.map(|sensor| (sensor, 1.0));
    let expected: Vec<_> = (0..120).map(|second| row("R", second, &fields)).collect();
    assert_eq!(rows_in(&queue), expected);
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::Repeated), 0, "nothing was taken twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_commit_replies_lose_and_double_nothing() {
    use Delivery::{Answered, Applied, Delayed, Dropped};
    let queue = queue_of(7);
    append_rows(&queue, 0..30).await;
    let deliveries = [
        Applied, Dropped, Answered, Delayed, Dropped, Dropped, Applied, Answered, Delayed, Applied,
    ];
    let faulty = FaultyQueue::new(queue.open(), &deliveries);
    let stage = start_on(faulty.clone(), settings(&queue, NEVER));
    let ledger = done(&queue, 30).await;
    stage.stop().await;
    assert!(
        faulty.calls() > deliveries.len(),
        "{} commits",
        faulty.calls()
    );
    let fields = SENSORS.map(|sensor| (sensor, 1.0));
    let expected: Vec<_> = (0..30).map(|second| row("R", second, &fields)).collect();
    assert_eq!(rows_in(&queue), expected);
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::RowsOut), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_lost_on_renew_reloads_state() {
    the_lease_is_lost_in_the_middle(Duration::from_secs(3), Found::ByRenewing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_lost_on_commit_reloads_state() {
    the_lease_is_lost_in_the_middle(Duration::from_secs(30), Found::ByCommitting).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    ByRenewing,
    ByCommitting,
}

async fn the_lease_is_lost_in_the_middle(lease: Duration, found: Found) {
    let queue = TempQueue::new(QueueSettings {
        lease,
        ..queue::testing::settings()
    });
    // The first takes two readings and stalls just before their commit.
    let first_queue = FaultyQueue::new(queue.open(), &[Delivery::Held]);
    queue
        .append(vec![reading("R", 0, "a", 1.0), reading("R", 0, "b", 2.0)])
        .await;
    let first = start_on(first_queue.clone(), settings(&queue, NEVER));
    first_queue.held_call().await;
    // Its lease expires meanwhile, and the second takes over.
    let second = start_on(queue.open_later(), settings(&queue, NEVER));
    queue
        .append(vec![
            reading("R", 0, "c", 3.0),
            reading("S", 0, "a", 4.0),
            reading("S", 0, "b", 5.0),
        ])
        .await;
    done(&queue, 1).await;
    if found == Found::ByRenewing {
        let said = first.until("lease", Status::Down).await;
        assert!(said.contains("another replica holds it"), "{said}");
    }
    first_queue.release_call();
    first.until("lease", Status::Standby).await;
    assert!(first.is_ready(), "a standby is no fault");
    second.ready().await;
    let ledger = queue.ledger().await;
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::RawTaken), 5, "the commit was refused");
    second.stop().await;
    first.until("lease", Status::Up).await;
    // Now the first has to reload the second one's state.
    queue
        .append(vec![
            reading("R", 0, "a", 1.0),
            reading("S", 0, "b", 5.5),
            reading("S", 0, "c", 6.0),
        ])
        .await;
    let ledger = done(&queue, 2).await;
    first.stop().await;
    let expected = [
        row("R", 0, &[("a", 1.0), ("b", 2.0), ("c", 3.0)]),
        row("S", 0, &[("a", 4.0), ("b", 5.0), ("c", 6.0)]),
    ];
    assert_eq!(rows_in(&queue), expected);
    assert_exact(&ledger);
    let counted = [Counter::Repeated, Counter::Superseded, Counter::InRows];
    assert_eq!(counted.map(|counter| ledger.get(counter)), [1, 1, 6]);
    assert_eq!(queue.items(List::Dead).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_older_queue_is_reloaded() {
    let queue = queue_of(5_000);
    let stage = start(&queue, NEVER);
    let readings: Vec<_> = SENSORS
        .iter()
        .map(|sensor| reading("R", 0, sensor, 1.0))
        .collect();
    queue.append(readings.clone()).await;
    done(&queue, 1).await;
    // As after a restart of the server without its last transaction: the elements are back in their
    // list, the row and its state are gone.
    queue.run(
        "BEGIN IMMEDIATE; DELETE FROM normalized; DELETE FROM state; \
         UPDATE consumer SET number = number - 1 WHERE name = 'transformer'; \
         UPDATE ledger SET value = 0 WHERE name IN ('raw_taken', 'samples', 'readings', 'in_rows', 'rows_out'); COMMIT",
    );
    for element in &readings {
        queue.push_foreign(List::Raw, element);
    }
    let ledger = done(&queue, 1).await;
    stage.stop().await;
    let fields = SENSORS.map(|sensor| (sensor, 1.0));
    assert_eq!(rows_in(&queue), [row("R", 0, &fields)]);
    assert_eq!(
        ledger.get(Counter::Repeated),
        0,
        "what was in memory is forgotten"
    );
    assert_exact(&ledger);
}
