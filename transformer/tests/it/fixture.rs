//! A transformer, its readings and its rows.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::Clock;
use model::limits::TimeLimits;
use model::{Layout, Name, Reading, Timestamp, element};
use queue::Queue;
use queue::ledger::Ledger;
use queue::list::List;
use queue::settings::QueueSettings;
use queue::testing::{Running, TempQueue, limited};
use transformer::settings::{RowLimits, RowSettings, ShapeSettings, Work};

/// The sensors of a complete row.
pub const SENSORS: [&str; 3] = ["a", "b", "c"];
/// Longer than any test: partial rows stay open.
pub const NEVER: Duration = Duration::from_hours(1);
/// Partial rows are emitted as soon as possible.
pub const AT_ONCE: Duration = Duration::from_millis(1);

/// A queue with a small batch.
pub fn queue_of(batch: usize) -> TempQueue {
    TempQueue::new(limited(|limits| limits.batch = batch))
}

/// Settings for `queue` under which rows wait for `flush_interval`.
pub fn settings(queue: &TempQueue, flush_interval: Duration) -> Work {
    settings_of(queue.settings(), flush_interval)
}

/// Settings for a queue with these settings.
pub fn settings_of(queue: &QueueSettings, flush_interval: Duration) -> Work {
    Work {
        shape: ShapeSettings::Pivot(RowSettings {
            align: Duration::from_secs(1),
            flush_interval,
            late_window: Duration::from_mins(1),
            rig_idle: NEVER,
            expected_sensors: SENSORS.map(|name| Name::new(name).unwrap()).to_vec(),
            max_open_rows: 100_000,
            limits: row_limits(),
        }),
        times: TimeLimits {
            max_future: Duration::from_mins(1),
            max_age: Duration::from_hours(24),
        },
        queue: queue.clone(),
    }
}

/// The usual limits.
pub fn row_limits() -> RowLimits {
    RowLimits {
        max_series: 100_000,
        max_fields: 1_000,
        max_row_fields: 256,
    }
}

/// The settings of the pivot.
pub fn pivot_of(work: &mut Work) -> &mut RowSettings {
    match &mut work.shape {
        ShapeSettings::Pivot(rows) => rows,
        other => unreachable!("{other:?} is no pivot"),
    }
}

/// Starts a transformer with its own handle of the queue.
pub fn start(queue: &TempQueue, flush_interval: Duration) -> Running {
    start_on(queue.open(), settings(queue, flush_interval))
}

/// Starts a transformer on this handle.
pub fn start_on(handle: impl Queue, settings: Work) -> Running {
    start_at(Clock::system(), handle, settings)
}

/// Starts a transformer with another clock.
pub fn start_at(clock: Clock, handle: impl Queue, settings: Work) -> Running {
    Running::start_at(clock, |process| transformer::run(settings, handle, process))
}

/// The instant of this many seconds and `millis` after some full minute.
pub fn at(second: i64, millis: i64) -> Timestamp {
    Timestamp::from_millis((1_762_092_000 + second) * 1_000 + millis)
}

/// A reading of the second, which arrived at the same time.
pub fn reading(rig: &str, second: i64, sensor: &str, value: f64) -> Vec<u8> {
    reading_of(rig, at(second, 250), sensor, value, at(second, 500))
}

pub fn reading_of(
    rig: &str,
    timestamp: Timestamp,
    sensor: &str,
    value: f64,
    ingest_time: Timestamp,
) -> Vec<u8> {
    let mut element = Vec::new();
    let reading = Reading {
        rig_id: Name::new(rig).unwrap(),
        sensor: Name::new(sensor).unwrap(),
        timestamp,
        value,
        ingest_time,
    };
    element::encode_reading(&reading, &mut element);
    element
}

/// Fields by name.
pub type Fields = BTreeMap<String, f64>;

/// A row: rig, tick, fields.
pub type Row = (String, Timestamp, Fields);

/// An expected row.
pub fn row(rig: &str, second: i64, fields: &[(&str, f64)]) -> Row {
    let fields = fields.iter().map(|(name, value)| ((*name).into(), *value));
    (rig.into(), at(second, 0), fields.collect())
}

/// The rows in the normalized list, in its order.
pub fn rows_in(queue: &TempQueue) -> Vec<Row> {
    decode(&queue.items(List::Normalized))
}

/// The rows of elements.
pub fn decode(elements: &[Vec<u8>]) -> Vec<Row> {
    let decode = |element: &Vec<u8>| {
        let row = Layout::Rigs.decode_row(element).unwrap();
        let fields = row.fields.iter();
        let fields = fields.map(|(name, value)| (name.to_string(), value.as_number().unwrap()));
        (row.tags[0].1.to_string(), row.timestamp, fields.collect())
    };
    elements.iter().map(decode).collect()
}

/// Waits until the raw list is empty and this many rows were emitted.
pub async fn done(queue: &TempQueue, rows: usize) -> Ledger {
    let rows = i64::try_from(rows).unwrap();
    queue
        .wait_for(|ledger| ledger.raw == 0 && ledger.get(queue::ledger::Counter::RowsOut) >= rows)
        .await
}
