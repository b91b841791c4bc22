mod limits;
mod properties;

use std::time::Duration;

use model::dead_letter::Reason;
use model::element::RawSample;
use model::{Layout, Name, Timestamp, Value};

use super::Pivot;
use super::reference::Taken;
use crate::settings::{RowLimits, RowSettings};
use crate::shape::{Changes, Counts, Shape};
use crate::testing::{Emission, emissions};

const BASE_MS: i64 = 1_762_093_293_000;

fn sensors<const N: usize>(names: [&'static str; N]) -> Vec<Name<'static>> {
    names.map(|name| Name::new(name).unwrap()).to_vec()
}

fn settings() -> RowSettings {
    RowSettings {
        align: Duration::from_secs(1),
        flush_interval: Duration::from_secs(2),
        late_window: Duration::from_secs(5),
        rig_idle: Duration::from_secs(20),
        expected_sensors: sensors(["a", "b"]),
        max_open_rows: 4,
        limits: RowLimits {
            max_series: 100,
            max_fields: 100,
            max_row_fields: 100,
        },
    }
}

/// A reading of rig R, `ms` after the base.
fn reading(sensor: &str, ms: i64, value: f64) -> Taken {
    let time = Timestamp::from_millis(BASE_MS + ms);
    Taken {
        rig: "R".into(),
        time,
        values: vec![(sensor.into(), value.into())],
    }
}

/// A pivot of the pipeline `rigs` with this state.
fn load(settings: &RowSettings, state: queue::State) -> Pivot {
    Pivot::load(settings, Layout::Rigs, state).unwrap()
}

/// The key of the series of a rig.
fn key(layout: Layout, rig: &str) -> String {
    let tags = [(Name::RIG_ID, Name::new(rig).unwrap())];
    layout.series_key(&tags).into_owned()
}

/// Takes a sample, or returns the reason why it is refused.
fn try_take(pivot: &mut Pivot, taken: &Taken, now: Duration) -> Option<Reason> {
    let values = taken.values.iter();
    let values = values.map(|(name, value)| (Name::new(name.as_str()).unwrap(), value.clone()));
    let sample = RawSample {
        series: key(pivot.layout, &taken.rig).into(),
        timestamp: taken.time,
        ingest_time: taken.time,
        values: values.collect(),
    };
    let taken = pivot.take(&sample, now).unwrap();
    taken.err().map(|rejection| rejection.reason)
}

fn take(pivot: &mut Pivot, taken: &Taken, now: Duration) {
    assert_eq!(try_take(pivot, taken, now), None);
}

/// Rows in a short form: seconds after the base, then the fields.
fn shown(changes: &Changes) -> Vec<String> {
    let show = |(_, tick, fields): &Emission| {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| match value {
                Value::Float(number) => format!("{name}={number}"),
                other => format!("{name}={other:?}"),
            })
            .collect();
        format!("{} {}", tick.seconds() - BASE_MS / 1000, fields.join(" "))
    };
    emissions(Layout::Rigs, changes).iter().map(show).collect()
}

/// A step of a test: readings, then elapsed time, and the expected rows.
fn check(steps: &[(&[Taken], u64, &[&str])]) -> Counts {
    let mut pivot = load(&settings(), Vec::new());
    let mut now = Duration::ZERO;
    let mut sum = Counts::default();
    for (place, (readings, pass_ms, rows)) in steps.iter().enumerate() {
        for reading in *readings {
            take(&mut pivot, reading, now);
        }
        now += Duration::from_millis(*pass_ms);
        assert!(pivot.expire(now, 1_000).unwrap());
        let changes = pivot.finish().unwrap();
        assert_eq!(shown(&changes), *rows, "step {place}");
        add(&mut sum, &changes.counts);
    }
    sum
}

fn add(sum: &mut Counts, counts: &Counts) {
    sum.repeated += counts.repeated;
    sum.superseded += counts.superseded;
    sum.readings += counts.readings;
    sum.late += counts.late;
    sum.late_rows += counts.late_rows;
    sum.in_rows += counts.in_rows;
    sum.open_readings += counts.open_readings;
    sum.complete += counts.complete;
    sum.partial += counts.partial;
    sum.forced += counts.forced;
    sum.second += counts.second;
}

#[test]
fn complete_row_is_emitted_at_once_and_partial_rows_after_the_timeout() {
    let counts = check(&[
        (&[reading("a", 0, 1.0)], 100, &[]),
        (&[reading("b", 999, 2.0)], 0, &["0 a=1 b=2"]),
        (&[reading("b", 1_000, 3.0)], 1_999, &[]),
        (&[reading("c", 1_500, 4.0)], 1_999, &[]),
        (&[], 1, &["1 b=3 c=4"]),
    ]);
    assert_eq!(
        (counts.complete, counts.partial, counts.open_readings),
        (1, 1, 0)
    );
}

#[test]
fn the_first_reading_of_a_cell_wins_before_and_after_the_row_is_emitted() {
    let counts = check(&[
        (
            &[
                reading("a", 0, 1.0),
                reading("a", 0, 1.0),
                reading("a", 1, 1.0),
            ],
            0,
            &[],
        ),
        (&[reading("b", 0, 2.0)], 0, &["0 a=1 b=2"]),
        (
            &[
                reading("a", 0, 1.0),
                reading("a", 0, 9.0),
                reading("b", 7, 2.0),
            ],
            9_000,
            &[],
        ),
    ]);
    assert_eq!(
        (counts.repeated, counts.superseded, counts.in_rows),
        (2, 3, 2)
    );
}

#[test]
fn field_after_its_row_makes_a_second_row() {
    let counts = check(&[
        (&[reading("a", 0, 1.0)], 2_000, &["0 a=1"]),
        (&[reading("b", 0, 2.0)], 0, &["0 b=2"]),
        (&[reading("b", 0, 2.0), reading("a", 0, 1.0)], 0, &[]),
        (&[reading("c", 0, 3.0)], 0, &["0 c=3"]),
    ]);
    assert_eq!((counts.second, counts.repeated, counts.in_rows), (2, 2, 3));
}

#[test]
fn each_reading_behind_the_window_is_its_own_row() {
    let counts = check(&[
        (&[reading("a", 6_000, 1.0)], 0, &[]),
        (&[reading("a", 1_000, 2.0)], 0, &[]),
        (
            &[reading("a", 999, 3.0), reading("a", 999, 3.0)],
            0,
            &["0 a=3", "0 a=3"],
        ),
        (&[], 2_000, &["6 a=1", "1 a=2"]),
    ]);
    assert_eq!((counts.late, counts.repeated, counts.in_rows), (2, 0, 4));
}

#[test]
fn oldest_row_is_emitted_when_too_many_are_open() {
    let readings: Vec<_> = [3, 1, 2, 4, 5]
        .map(|s| reading("a", s * 1_000, 1.0))
        .to_vec();
    let counts = check(&[(&readings, 0, &["3 a=1"])]);
    assert_eq!((counts.forced, counts.open_readings), (1, 4));
}

#[test]
fn an_idle_rig_is_forgotten_and_its_state_deleted() {
    let mut pivot = load(&settings(), Vec::new());
    take(&mut pivot, &reading("a", 0, 1.0), Duration::ZERO);
    assert!(pivot.expire(Duration::from_secs(2), 10).unwrap());
    let before = pivot.finish().unwrap();
    assert_eq!(before.puts.len(), 2, "a sensor's name and a row");
    assert!(pivot.expire(Duration::from_secs(30), 10).unwrap());
    assert_eq!(pivot.finish().unwrap().deletes.len(), 1);
    take(
        &mut pivot,
        &reading("a", -60_000, 1.0),
        Duration::from_secs(31),
    );
    assert_eq!(
        pivot.finish().unwrap().counts.late,
        0,
        "its window starts anew"
    );
}

#[test]
fn expire_emits_at_most_max_rows() {
    let mut settings = settings();
    settings.max_open_rows = 100;
    let mut pivot = load(&settings, Vec::new());
    for second in 0..5 {
        take(
            &mut pivot,
            &reading("a", second * 1_000, 1.0),
            Duration::ZERO,
        );
    }
    let late = Duration::from_secs(9);
    assert!(!pivot.expire(late, 2).unwrap());
    assert_eq!(pivot.finish().unwrap().rows.len(), 2);
    assert!(!pivot.expire(late, 2).unwrap());
    assert_eq!(pivot.finish().unwrap().rows.len(), 2);
    assert!(pivot.expire(late, 2).unwrap());
    assert_eq!(pivot.finish().unwrap().rows.len(), 1);
}

/// A sample of several readings of rig R, `ms` after the base.
fn sample(ms: i64, values: &[(&str, f64)]) -> Taken {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Taken {
        values: values.collect(),
        ..reading("", ms, 0.0)
    }
}

#[test]
fn sample_of_several_readings_makes_one_row() {
    let counts = check(&[
        (
            &[sample(0, &[("a", 1.0), ("b", 2.0), ("c", 3.0)])],
            0,
            &["0 a=1 b=2 c=3"],
        ),
        // One second row for the new fields; the others repeat or contradict.
        (
            &[sample(0, &[("a", 1.0), ("b", 9.0), ("d", 4.0), ("e", 5.0)])],
            0,
            &["0 d=4 e=5"],
        ),
        (
            &[sample(9_000, &[("a", 1.0), ("c", 3.0)])],
            2_000,
            &["9 a=1 c=3"],
        ),
        // Behind the window: one row of its own.
        (&[sample(0, &[("a", 7.0), ("b", 8.0)])], 0, &["0 a=7 b=8"]),
    ]);
    assert_eq!((counts.readings, counts.in_rows), (11, 9));
    assert_eq!((counts.repeated, counts.superseded), (1, 1));
    assert_eq!((counts.late, counts.late_rows), (2, 1));
    assert_eq!((counts.complete, counts.partial, counts.second), (1, 1, 1));
}

#[test]
fn without_expected_sensors_rows_are_emitted_after_the_timeout() {
    let mut settings = settings();
    settings.expected_sensors.clear();
    let mut pivot = load(&settings, Vec::new());
    take(&mut pivot, &reading("a", 0, 1.0), Duration::ZERO);
    take(&mut pivot, &reading("b", 0, 2.0), Duration::ZERO);
    assert!(pivot.finish().unwrap().rows.is_empty());
    assert!(pivot.expire(Duration::from_secs(2), 10).unwrap());
    assert_eq!(shown(&pivot.finish().unwrap()), ["0 a=1 b=2"]);
}

#[test]
fn changed_expected_sensors_keep_their_cells_after_a_restart() {
    let mut pivot = load(&settings(), Vec::new());
    take(&mut pivot, &reading("b", 0, 1.0), Duration::ZERO);
    take(&mut pivot, &reading("z", 0, 2.0), Duration::ZERO);
    let entries = pivot.finish().unwrap().puts;
    let mut other = settings();
    other.expected_sensors = sensors(["x", "z", "b"]);
    let mut pivot = load(&other, entries);
    take(&mut pivot, &reading("x", 0, 3.0), Duration::ZERO);
    assert_eq!(shown(&pivot.finish().unwrap()), ["0 b=1 x=3 z=2"]);
}

#[test]
fn unreadable_state_entries_are_deleted() {
    let entry = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    let mut pivot = load(
        &settings(),
        vec![
            entry(b"", b""),
            entry(b"x", b""),
            entry(b"r123", b"e"),
            entry(b"r12345678R", b"?"),
            entry(b"r12345678R", b"o\x00\x01"),
            entry(b"s\x00\x00\x00\x09", b"unused"),
            entry(b"s\x00\x00\x00\x08", b"no name"),
            entry(b"r12345678R", b"e\x07\0\0\0\0"),
            entry(b"r12345678R", b"t\x00\0\0\0\0\0\0\0\0s\0\0\0\x05abc"),
            entry(b"r12345678no rig", b"e"),
        ],
    );
    assert_eq!(pivot.finish().unwrap().deletes.len(), 10);
}

/// Size of the state of complete rows, which the documentation states.
#[test]
fn the_state_of_a_complete_row_is_small() {
    let mut settings = settings();
    let names = [
        "temp_inlet",
        "temp_outlet",
        "pressure",
        "flow_rate",
        "voltage",
        "current",
    ];
    settings.expected_sensors = sensors(names);
    let mut pivot = load(&settings, Vec::new());
    let rig = |pivot: &mut Pivot, second: i64| {
        for name in names {
            let taken = Taken {
                rig: "RIG-01".into(),
                ..reading(name, second * 1_000, 1.0)
            };
            take(pivot, &taken, Duration::ZERO);
        }
    };
    rig(&mut pivot, 0);
    pivot.finish().unwrap();
    rig(&mut pivot, 1);
    let changes = pivot.finish().unwrap();
    let bytes: usize = changes
        .puts
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    assert_eq!((changes.puts.len(), bytes), (1, 46));
}
