use std::collections::BTreeMap;
use std::time::Duration;

use model::element;
use model::{Name, Reading, SensorName, Timestamp};
use proptest::prelude::*;

use super::reference::{Emission, ReferencePivot, Taken};
use super::{Changes, Counts, Pivot};
use crate::settings::RowSettings;

const BASE_MS: i64 = 1_762_093_293_000;

fn sensors<const N: usize>(names: [&'static str; N]) -> Vec<SensorName<'static>> {
    names.map(|name| SensorName::new(name).unwrap()).to_vec()
}

fn settings() -> RowSettings {
    RowSettings {
        align: Duration::from_secs(1),
        flush_interval: Duration::from_secs(2),
        late_window: Duration::from_secs(5),
        rig_idle: Duration::from_secs(20),
        expected_sensors: sensors(["a", "b"]),
        max_open_rows: 4,
    }
}

/// A reading of rig R, `ms` after the base.
fn reading(sensor: &str, ms: i64, value: f64) -> Taken {
    let time = Timestamp::from_millis(BASE_MS + ms);
    Taken {
        rig: "R".into(),
        sensor: sensor.into(),
        time,
        value,
    }
}

fn take(pivot: &mut Pivot, taken: &Taken, now: Duration) {
    let reading = Reading {
        rig_id: Name::new(taken.rig.as_str()).unwrap(),
        sensor: SensorName::new(taken.sensor.as_str()).unwrap(),
        timestamp: taken.time,
        value: taken.value,
        ingest_time: taken.time,
    };
    pivot.take(&reading, now).unwrap();
}

fn emissions(changes: &Changes) -> Vec<Emission> {
    let read = |element: &Vec<u8>| {
        let row = element::decode_row(element).unwrap();
        let mut fields: Vec<_> = row
            .fields
            .iter()
            .map(|(n, v)| (n.to_string(), *v))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        (row.tags[0].1.to_string(), row.timestamp, fields)
    };
    changes.rows.iter().map(read).collect()
}

/// Rows in a short form: seconds after the base, then the fields.
fn shown(changes: &Changes) -> Vec<String> {
    let show = |(_, tick, fields): &Emission| {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("{} {}", tick.seconds() - BASE_MS / 1000, fields.join(" "))
    };
    emissions(changes).iter().map(show).collect()
}

/// A step of a test: readings, then elapsed time, and the expected rows.
fn check(steps: &[(&[Taken], u64, &[&str])]) -> Counts {
    let mut pivot = Pivot::load(&settings(), Vec::new()).unwrap();
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
    sum.late += counts.late;
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
    let mut pivot = Pivot::load(&settings(), Vec::new()).unwrap();
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
    let mut pivot = Pivot::load(&settings, Vec::new()).unwrap();
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

#[test]
fn changed_expected_sensors_keep_their_cells_after_a_restart() {
    let mut pivot = Pivot::load(&settings(), Vec::new()).unwrap();
    take(&mut pivot, &reading("b", 0, 1.0), Duration::ZERO);
    take(&mut pivot, &reading("z", 0, 2.0), Duration::ZERO);
    let entries = pivot.finish().unwrap().puts;
    let mut other = settings();
    other.expected_sensors = sensors(["x", "z", "b"]);
    let mut pivot = Pivot::load(&other, entries).unwrap();
    take(&mut pivot, &reading("x", 0, 3.0), Duration::ZERO);
    assert_eq!(shown(&pivot.finish().unwrap()), ["0 b=1 x=3 z=2"]);
}

#[test]
fn unreadable_state_entries_are_deleted() {
    let entry = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    let mut pivot = Pivot::load(
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
        ],
    )
    .unwrap();
    assert_eq!(pivot.finish().unwrap().deletes.len(), 8);
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
    let mut pivot = Pivot::load(&settings, Vec::new()).unwrap();
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

#[derive(Debug, Clone)]
enum Op {
    Take(Taken),
    Pass(u64),
    Expire,
    Commit,
    /// Everything since the last commit is lost and redelivered.
    Crash,
    /// A restart after a commit.
    Restart,
}

fn any_op() -> impl Strategy<Value = Op> {
    let rig = prop_oneof![Just("R"), Just("Q")];
    let sensor = prop_oneof![Just("a"), Just("b"), Just("c")];
    let time = (0_i64..14, prop_oneof![Just(0_i64), Just(1), Just(999)]);
    let value = prop_oneof![Just(1.0), Just(2.0)];
    let taken = (rig, sensor, time, value).prop_map(|(rig, sensor, (second, ms), value)| {
        Op::Take(Taken {
            rig: rig.into(),
            ..reading(sensor, second * 1_000 + ms, value)
        })
    });
    prop_oneof![
        12 => taken,
        2 => (1_u64..1_500).prop_map(Op::Pass),
        2 => Just(Op::Expire),
        2 => Just(Op::Commit),
        1 => Just(Op::Crash),
        1 => Just(Op::Restart),
    ]
}

/// The pivot and the reference, driven in the same way as by the run loop.
struct Pair {
    pivot: Pivot,
    reference: ReferencePivot,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The reference as of the last commit, and the readings since.
    committed: ReferencePivot,
    since: Vec<Taken>,
    now: Duration,
    store: BTreeMap<(String, Timestamp, String), f64>,
    open_readings: i64,
}

impl Pair {
    fn new() -> Self {
        Self {
            pivot: Pivot::load(&settings(), Vec::new()).unwrap(),
            reference: ReferencePivot::new(settings()),
            committed: ReferencePivot::new(settings()),
            state: BTreeMap::new(),
            since: Vec::new(),
            now: Duration::ZERO,
            store: BTreeMap::new(),
            open_readings: 0,
        }
    }

    fn take(&mut self, taken: &Taken) {
        take(&mut self.pivot, taken, self.now);
        self.reference.take(taken, self.now);
    }

    fn commit(&mut self) {
        let changes = self.pivot.finish().unwrap();
        let mut emitted = emissions(&changes);
        let mut expected = std::mem::take(&mut self.reference.emitted);
        for (rig, tick, fields) in &expected {
            for (field, value) in fields {
                self.store
                    .insert((rig.clone(), *tick, field.clone()), *value);
            }
        }
        // Rows that are flushed together have no defined order.
        let by_value = |a: &Emission, b: &Emission| a.partial_cmp(b).unwrap();
        emitted.sort_by(by_value);
        expected.sort_by(by_value);
        assert_eq!(emitted, expected);
        assert_eq!(changes.counts, std::mem::take(&mut self.reference.counts));
        self.open_readings += changes.counts.open_readings;
        assert!(self.open_readings >= 0);
        for key in &changes.deletes {
            assert!(
                !changes.puts.iter().any(|(put, _)| put == key),
                "put and deleted"
            );
            self.state.remove(key);
        }
        self.state.extend(changes.puts);
        self.since.clear();
        self.committed = self.reference.clone();
    }

    fn restart(&mut self) {
        self.now = Duration::ZERO;
        self.pivot = Pivot::load(&settings(), self.state.clone().into_iter().collect()).unwrap();
        self.reference = self.committed.clone();
        self.reference.restart();
        self.committed = self.reference.clone();
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Take(taken) => {
                self.take(taken);
                self.since.push(taken.clone());
            }
            Op::Pass(ms) => self.now += Duration::from_millis(*ms),
            Op::Expire => {
                assert!(self.pivot.expire(self.now, 1_000).unwrap());
                self.reference.expire(self.now);
            }
            Op::Commit => self.commit(),
            Op::Restart => {
                self.commit();
                self.restart();
            }
            Op::Crash => {
                let again = std::mem::take(&mut self.since);
                self.restart();
                for taken in &again {
                    self.take(taken);
                }
                self.since = again;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_pivot_agrees_with_the_reference(ops in proptest::collection::vec(any_op(), 1..120)) {
        let mut pair = Pair::new();
        for op in &ops {
            // Rigs go silent after 20 s; that has a test of its own.
            if pair.now < Duration::from_secs(17) || !matches!(op, Op::Pass(_)) {
                pair.apply(op);
            }
        }
        pair.commit();
        let open: usize = pair.state.values().filter(|value| value.first() == Some(&b'o')).map(
            |value| (value.len() - 1) / 17,
        ).sum();
        prop_assert_eq!(i64::try_from(open).unwrap(), pair.open_readings);
    }

    /// Within the window, neither batches nor restarts nor timers change what a store ends with.
    #[test]
    fn the_stored_values_depend_only_on_the_readings(
        ops in proptest::collection::vec(any_op(), 1..120),
    ) {
        let in_window = |op: &&Op| match op {
            Op::Take(taken) => taken.time.seconds() - BASE_MS / 1_000 < 6,
            _ => true,
        };
        let mut pair = Pair::new();
        let mut first: BTreeMap<(String, Timestamp, String), f64> = BTreeMap::new();
        for op in ops.iter().filter(in_window) {
            if let Op::Take(taken) = op {
                let tick = taken.time.tick(Duration::from_secs(1));
                let cell = (taken.rig.clone(), tick, taken.sensor.clone());
                first.entry(cell).or_insert(taken.value);
            }
            if pair.now < Duration::from_secs(17) || !matches!(op, Op::Pass(_)) {
                pair.apply(op);
            }
        }
        pair.now += settings().flush_interval;
        pair.apply(&Op::Expire);
        pair.commit();
        prop_assert_eq!(pair.store, first);
    }
}

#[test]
fn the_reference_forgets_idle_rigs() {
    let mut reference = ReferencePivot::new(settings());
    reference.take(&reading("a", 0, 1.0), Duration::ZERO);
    reference.expire(Duration::from_secs(2));
    reference.forget_idle_rigs(Duration::from_secs(19));
    reference.take(&reading("a", -9_000, 1.0), Duration::from_secs(19));
    assert_eq!(reference.counts.late, 1);
    reference.forget_idle_rigs(Duration::from_secs(39));
    reference.take(&reading("a", -9_000, 1.0), Duration::from_secs(39));
    assert_eq!(reference.counts.late, 1);
}
