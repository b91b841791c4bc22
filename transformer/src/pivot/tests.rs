use std::collections::BTreeMap;
use std::time::Duration;

use common::reading::Reading;
use common::time::Timestamp;
use common::wire;
use proptest::prelude::*;

use super::model::{Emission, Model, Taken};
use super::{Outcome, Pivot, Tally};
use crate::settings::RowSettings;

const BASE_MS: i64 = 1_762_093_293_000;

fn settings() -> RowSettings {
    RowSettings {
        align: Duration::from_secs(1),
        flush_interval: Duration::from_secs(2),
        late_window: Duration::from_secs(5),
        rig_idle: Duration::from_secs(20),
        expected_sensors: vec!["a".into(), "b".into()],
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
        rig_id: taken.rig.as_str().into(),
        sensor: taken.sensor.as_str().into(),
        timestamp: taken.time,
        value: taken.value,
        ingest_time: taken.time,
    };
    pivot.take(&reading, now);
}

fn emissions(outcome: &Outcome) -> Vec<Emission> {
    let read = |element: &Vec<u8>| {
        let row = wire::decode_row(element).unwrap();
        let mut fields: Vec<_> = row
            .fields
            .iter()
            .map(|(n, v)| (n.to_string(), *v))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        (row.tags[0].1.to_string(), row.timestamp, fields)
    };
    outcome.rows.iter().map(read).collect()
}

/// What rows say, in short: seconds after the base, then the fields.
fn shown(outcome: &Outcome) -> Vec<String> {
    let show = |(_, tick, fields): &Emission| {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("{} {}", tick.seconds() - BASE_MS / 1000, fields.join(" "))
    };
    emissions(outcome).iter().map(show).collect()
}

/// A step of a table: readings taken, then time passed; and the rows that this must give.
fn check(steps: &[(&[Taken], u64, &[&str])]) -> Tally {
    let mut pivot = Pivot::load(&settings(), Vec::new());
    let mut now = Duration::ZERO;
    let mut sum = Tally::default();
    for (place, (readings, pass_ms, rows)) in steps.iter().enumerate() {
        for reading in *readings {
            take(&mut pivot, reading, now);
        }
        now += Duration::from_millis(*pass_ms);
        assert!(pivot.expire(now, 1_000));
        let outcome = pivot.finish();
        assert_eq!(shown(&outcome), *rows, "step {place}");
        add(&mut sum, &outcome.tally);
    }
    sum
}

fn add(sum: &mut Tally, tally: &Tally) {
    sum.repeated += tally.repeated;
    sum.superseded += tally.superseded;
    sum.late += tally.late;
    sum.in_rows += tally.in_rows;
    sum.open_readings += tally.open_readings;
    sum.complete += tally.complete;
    sum.partial += tally.partial;
    sum.forced += tally.forced;
    sum.second += tally.second;
}

#[test]
fn a_complete_row_is_emitted_at_once_and_others_when_they_have_waited() {
    let tally = check(&[
        (&[reading("a", 0, 1.0)], 100, &[]),
        (&[reading("b", 999, 2.0)], 0, &["0 a=1 b=2"]),
        (&[reading("b", 1_000, 3.0)], 1_999, &[]),
        (&[reading("c", 1_500, 4.0)], 1_999, &[]),
        (&[], 1, &["1 b=3 c=4"]),
    ]);
    assert_eq!(
        (tally.complete, tally.partial, tally.open_readings),
        (1, 1, 0)
    );
}

#[test]
fn the_first_reading_of_a_cell_wins_before_and_after_the_row_is_emitted() {
    let tally = check(&[
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
    assert_eq!((tally.repeated, tally.superseded, tally.in_rows), (2, 3, 2));
}

#[test]
fn a_field_that_comes_after_its_row_makes_a_second_small_row() {
    let tally = check(&[
        (&[reading("a", 0, 1.0)], 2_000, &["0 a=1"]),
        (&[reading("b", 0, 2.0)], 0, &["0 b=2"]),
        (&[reading("b", 0, 2.0), reading("a", 0, 1.0)], 0, &[]),
        (&[reading("c", 0, 3.0)], 0, &["0 c=3"]),
    ]);
    assert_eq!((tally.second, tally.repeated, tally.in_rows), (2, 2, 3));
}

#[test]
fn behind_the_window_every_reading_is_a_row_of_its_own() {
    let tally = check(&[
        (&[reading("a", 6_000, 1.0)], 0, &[]),
        (&[reading("a", 1_000, 2.0)], 0, &[]),
        (
            &[reading("a", 999, 3.0), reading("a", 999, 3.0)],
            0,
            &["0 a=3", "0 a=3"],
        ),
        (&[], 2_000, &["6 a=1", "1 a=2"]),
    ]);
    assert_eq!((tally.late, tally.repeated, tally.in_rows), (2, 0, 4));
}

#[test]
fn with_too_many_open_rows_the_oldest_goes_first() {
    let readings: Vec<_> = [3, 1, 2, 4, 5]
        .map(|s| reading("a", s * 1_000, 1.0))
        .to_vec();
    let tally = check(&[(&readings, 0, &["3 a=1"])]);
    assert_eq!((tally.forced, tally.open_readings), (1, 4));
}

#[test]
fn a_silent_rig_is_forgotten_and_its_state_deleted() {
    let mut pivot = Pivot::load(&settings(), Vec::new());
    take(&mut pivot, &reading("a", 0, 1.0), Duration::ZERO);
    assert!(pivot.expire(Duration::from_secs(2), 10));
    let before = pivot.finish();
    assert_eq!(before.puts.len(), 2, "a sensor's name and a row");
    assert!(pivot.expire(Duration::from_secs(30), 10));
    assert_eq!(pivot.finish().deletes.len(), 1);
    take(
        &mut pivot,
        &reading("a", -60_000, 1.0),
        Duration::from_secs(31),
    );
    assert_eq!(pivot.finish().tally.late, 0, "its window starts anew");
}

#[test]
fn at_most_so_many_rows_are_flushed_at_once() {
    let mut settings = settings();
    settings.max_open_rows = 100;
    let mut pivot = Pivot::load(&settings, Vec::new());
    for second in 0..5 {
        take(
            &mut pivot,
            &reading("a", second * 1_000, 1.0),
            Duration::ZERO,
        );
    }
    let late = Duration::from_secs(9);
    assert!(!pivot.expire(late, 2));
    assert_eq!(pivot.finish().rows.len(), 2);
    assert!(!pivot.expire(late, 2));
    assert_eq!(pivot.finish().rows.len(), 2);
    assert!(pivot.expire(late, 2));
    assert_eq!(pivot.finish().rows.len(), 1);
}

#[test]
fn other_expected_sensors_after_a_restart_find_their_cells() {
    let mut pivot = Pivot::load(&settings(), Vec::new());
    take(&mut pivot, &reading("b", 0, 1.0), Duration::ZERO);
    take(&mut pivot, &reading("z", 0, 2.0), Duration::ZERO);
    let entries = pivot.finish().puts;
    let mut other = settings();
    other.expected_sensors = vec!["x".into(), "z".into(), "b".into()];
    let mut pivot = Pivot::load(&other, entries);
    take(&mut pivot, &reading("x", 0, 3.0), Duration::ZERO);
    assert_eq!(shown(&pivot.finish()), ["0 b=1 x=3 z=2"]);
}

#[test]
fn entries_that_make_no_sense_are_deleted() {
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
        ],
    );
    assert_eq!(pivot.finish().deletes.len(), 6);
}

/// What complete rows cost in state, which the README's figures rest on.
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
    settings.expected_sensors = names.map(str::to_owned).to_vec();
    let mut pivot = Pivot::load(&settings, Vec::new());
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
    pivot.finish();
    rig(&mut pivot, 1);
    let outcome = pivot.finish();
    let bytes: usize = outcome
        .puts
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    assert_eq!((outcome.puts.len(), bytes), (1, 46));
}

#[derive(Debug, Clone)]
enum Op {
    Take(Taken),
    Pass(u64),
    Expire,
    Commit,
    /// Everything since the last commit is lost and comes again.
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

/// The real pivot and the model, driven side by side as the run loop would.
struct Pair {
    pivot: Pivot,
    model: Model,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The model as of the last commit, and what has been taken since.
    committed: Model,
    since: Vec<Taken>,
    now: Duration,
    store: BTreeMap<(String, Timestamp, String), f64>,
    open_readings: i64,
}

impl Pair {
    fn new() -> Self {
        Self {
            pivot: Pivot::load(&settings(), Vec::new()),
            model: Model::new(settings()),
            committed: Model::new(settings()),
            state: BTreeMap::new(),
            since: Vec::new(),
            now: Duration::ZERO,
            store: BTreeMap::new(),
            open_readings: 0,
        }
    }

    fn take(&mut self, taken: &Taken) {
        take(&mut self.pivot, taken, self.now);
        self.model.take(taken, self.now);
    }

    fn commit(&mut self) {
        let outcome = self.pivot.finish();
        let mut emitted = emissions(&outcome);
        let mut expected = std::mem::take(&mut self.model.emitted);
        for (rig, tick, fields) in &expected {
            for (field, value) in fields {
                self.store
                    .insert((rig.clone(), *tick, field.clone()), *value);
            }
        }
        // Rows that are flushed together have no order among themselves.
        let by_value = |a: &Emission, b: &Emission| a.partial_cmp(b).unwrap();
        emitted.sort_by(by_value);
        expected.sort_by(by_value);
        assert_eq!(emitted, expected);
        assert_eq!(outcome.tally, std::mem::take(&mut self.model.tally));
        self.open_readings += outcome.tally.open_readings;
        assert!(self.open_readings >= 0);
        for key in &outcome.deletes {
            assert!(
                !outcome.puts.iter().any(|(put, _)| put == key),
                "put and deleted"
            );
            self.state.remove(key);
        }
        self.state.extend(outcome.puts);
        self.since.clear();
        self.committed = self.model.clone();
    }

    fn restart(&mut self) {
        self.now = Duration::ZERO;
        self.pivot = Pivot::load(&settings(), self.state.clone().into_iter().collect());
        self.model = self.committed.clone();
        self.model.restart();
        self.committed = self.model.clone();
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Take(taken) => {
                self.take(taken);
                self.since.push(taken.clone());
            }
            Op::Pass(ms) => self.now += Duration::from_millis(*ms),
            Op::Expire => {
                assert!(self.pivot.expire(self.now, 1_000));
                self.model.expire(self.now);
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
    fn the_pivot_does_what_the_model_does(ops in proptest::collection::vec(any_op(), 1..120)) {
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
    fn what_a_store_ends_with_depends_on_the_readings_alone(
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
fn the_model_forgets_silent_rigs_too() {
    let mut model = Model::new(settings());
    model.take(&reading("a", 0, 1.0), Duration::ZERO);
    model.expire(Duration::from_secs(2));
    model.forget_silent_rigs(Duration::from_secs(19));
    model.take(&reading("a", -9_000, 1.0), Duration::from_secs(19));
    assert_eq!(model.tally.late, 1);
    model.forget_silent_rigs(Duration::from_secs(39));
    model.take(&reading("a", -9_000, 1.0), Duration::from_secs(39));
    assert_eq!(model.tally.late, 1);
}
