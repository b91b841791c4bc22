//! When rows are emitted.

use queue::ledger::Counter;
use queue::testing::{TempQueue, assert_exact};

use crate::fixture::{
    AT_ONCE, NEVER, SENSORS, at, done, pivot_of, queue_of, reading, row, rows_in, settings, start,
    start_on,
};

/// `rigs` rows of the same second; first all readings of one sensor, then all of the next.
fn sensor_by_sensor(rigs: usize, sensors: &[&str]) -> Vec<Vec<u8>> {
    let of = |sensor: &&str| {
        let sensor = (*sensor).to_owned();
        (0..rigs).map(move |rig| reading(&format!("RIG-{rig}"), 0, &sensor, 1.0))
    };
    sensors.iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn complete_row_is_emitted_at_once_and_only_once() {
    let queue = queue_of(5_000);
    let stage = start(&queue, NEVER);
    stage.ready().await;
    queue
        .append(vec![
            reading("R1", 0, "a", 1.5),
            reading("R2", 0, "a", 2.0),
            reading("R1", 0, "c", 3.5),
            // A device faster than the ticks, a redelivery, an unexpected sensor.
            reading("R1", 0, "a", 9.0),
            reading("R1", 0, "c", 3.5),
            reading("R1", 0, "extra", 4.0),
            reading("R1", 0, "b", 2.5),
        ])
        .await;
    let ledger = done(&queue, 1).await;
    let fields = [("a", 1.5), ("b", 2.5), ("c", 3.5), ("extra", 4.0)];
    assert_eq!(rows_in(&queue), [row("R1", 0, &fields)]);
    assert_exact(&ledger);
    for (counter, value) in [
        (Counter::RawTaken, 7),
        (Counter::InRows, 4),
        (Counter::OpenReadings, 1),
        (Counter::Superseded, 1),
        (Counter::Repeated, 1),
    ] {
        assert_eq!(ledger.get(counter), value, "{counter:?}");
    }
    stage.stop().await;
    assert_exact(&queue.ledger().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partial_rows_are_flushed_while_the_input_is_idle() {
    let queue = queue_of(5_000);
    let stage = start(&queue, std::time::Duration::from_millis(100));
    stage.ready().await;
    queue
        .append(vec![reading("R1", 0, "a", 1.0), reading("R1", 0, "b", 2.0)])
        .await;
    // No further elements arrive.
    let ledger = done(&queue, 1).await;
    assert_eq!(rows_in(&queue), [row("R1", 0, &[("a", 1.0), ("b", 2.0)])]);
    assert_exact(&ledger);
    // The missing field is emitted in a second row.
    queue
        .append(vec![reading("R1", 0, "c", 3.0), reading("R1", 0, "a", 1.0)])
        .await;
    let ledger = done(&queue, 2).await;
    assert_eq!(rows_in(&queue)[1], row("R1", 0, &[("c", 3.0)]));
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::Repeated), 1);
    assert_eq!(ledger.get(Counter::OpenReadings), 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backlog_never_splits_a_row() {
    // Also if the last batch is full, so that the end shows only in an empty peek.
    for (batch, rigs) in [(7, 40), (8, 40), (1, 20)] {
        let queue = queue_of(batch);
        queue.append(sensor_by_sensor(rigs, &SENSORS)).await;
        let stage = start(&queue, AT_ONCE);
        let ledger = done(&queue, rigs).await;
        stage.stop().await;
        let rows = rows_in(&queue);
        assert_eq!(rows.len(), rigs, "batch {batch}");
        assert!(rows.iter().all(|(_, _, fields)| fields.len() == 3));
        assert_exact(&ledger);
        assert_eq!(ledger.get(Counter::OpenReadings), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partial_rows_behind_a_backlog_are_emitted_once() {
    // More rows are due at once than a batch holds.
    let queue = queue_of(6);
    queue.append(sensor_by_sensor(33, &["a", "c"])).await;
    let stage = start(&queue, AT_ONCE);
    let ledger = done(&queue, 33).await;
    stage.stop().await;
    let rows = rows_in(&queue);
    assert_eq!(rows.len(), 33);
    for (_, tick, fields) in &rows {
        assert_eq!((*tick, fields.len()), (at(0, 0), 2), "{fields:?}");
    }
    assert_exact(&ledger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_readings_and_excess_open_rows_are_emitted_separately() {
    let queue = queue_of(5_000);
    let mut settings = settings(&queue, NEVER);
    pivot_of(&mut settings).max_open_rows = 2;
    let stage = start_on(queue.open(), settings);
    queue
        .append(vec![
            reading("R1", 100, "a", 1.0),
            reading("R1", 101, "a", 2.0),
            reading("R1", 102, "a", 3.0),
            // Behind the window of a minute, and just within it.
            reading("R1", 41, "b", 4.0),
            reading("R1", 42, "b", 5.0),
        ])
        .await;
    let ledger = done(&queue, 3).await;
    stage.stop().await;
    assert_eq!(
        rows_in(&queue),
        [
            row("R1", 100, &[("a", 1.0)]),
            row("R1", 41, &[("b", 4.0)]),
            row("R1", 101, &[("a", 2.0)]),
        ]
    );
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::Late), 1);
    assert_eq!(ledger.get(Counter::OpenReadings), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_depend_neither_on_batch_sizes_nor_on_appends() {
    let mut expected = Vec::new();
    let mut readings = Vec::new();
    for second in 0..20 {
        let value = |place: u8| f64::from(place) + 0.1;
        for (place, sensor) in (0_u8..).zip(SENSORS) {
            readings.push(reading("R1", second, sensor, value(place)));
            readings.push(reading("R1", second, sensor, value(place) + 1.0));
        }
        let fields = [("a", value(0)), ("b", value(1)), ("c", value(2))];
        expected.push(row("R1", second, &fields));
    }
    for (batch, appended) in [(5_000, 120), (1, 7), (13, 1), (3, 120)] {
        let queue: TempQueue = queue_of(batch);
        let stage = start(&queue, NEVER);
        for part in readings.chunks(appended) {
            queue.append(part.to_vec()).await;
        }
        let ledger = done(&queue, 20).await;
        stage.stop().await;
        assert_eq!(rows_in(&queue), expected, "batch {batch}");
        assert_exact(&ledger);
        assert_eq!(ledger.get(Counter::Superseded), 60);
    }
}
