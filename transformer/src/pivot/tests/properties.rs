//! The pivot and its reference, driven by random steps.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Layout, Timestamp, Value};
use proptest::prelude::*;

use super::{BASE_MS, emissions, reading, settings, try_take};
use crate::pivot::Pivot;
use crate::pivot::reference::{ReferencePivot, Taken};
use crate::settings::{RowLimits, RowSettings};
use crate::shape::Shape;
use crate::testing::Emission;

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
    let rig = prop_oneof![Just("R"), Just("Q"), Just("P")];
    let sensor = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")];
    let time = (0_i64..14, prop_oneof![Just(0_i64), Just(1), Just(999)]);
    let value = prop_oneof![
        4 => Just(Value::Float(1.0)),
        2 => Just(Value::Float(2.0)),
        1 => Just(Value::Integer(1)),
        1 => Just(Value::Bool(true)),
        1 => Just(Value::String("1".into())),
    ];
    let values = prop_oneof![
        3 => proptest::collection::btree_map(sensor.clone(), value.clone(), 1),
        1 => proptest::collection::btree_map(sensor, value, 1..5),
    ];
    let taken = (rig, time, values).prop_map(|(rig, (second, ms), values)| {
        let values = values.into_iter();
        Op::Take(Taken {
            rig: rig.into(),
            values: values.map(|(name, value)| (name.into(), value)).collect(),
            ..reading("", second * 1_000 + ms, 0.0)
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
    settings: RowSettings,
    pivot: Pivot,
    reference: ReferencePivot,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The reference as of the last commit, and the readings since.
    committed: ReferencePivot,
    since: Vec<Taken>,
    now: Duration,
    store: BTreeMap<(String, Timestamp, String), Value>,
    open_readings: i64,
}

impl Pair {
    fn new(settings: RowSettings) -> Self {
        Self {
            pivot: Pivot::load(&settings, Layout::Tagged, Vec::new()).unwrap(),
            reference: ReferencePivot::new(settings.clone()),
            committed: ReferencePivot::new(settings.clone()),
            settings,
            state: BTreeMap::new(),
            since: Vec::new(),
            now: Duration::ZERO,
            store: BTreeMap::new(),
            open_readings: 0,
        }
    }

    fn take(&mut self, taken: &Taken) {
        let refused = try_take(&mut self.pivot, taken, self.now);
        assert_eq!(refused, self.reference.take(taken, self.now), "{taken:?}");
    }

    fn commit(&mut self) {
        let changes = self.pivot.finish().unwrap();
        let mut emitted = emissions(Layout::Tagged, &changes);
        let mut expected = std::mem::take(&mut self.reference.emitted);
        for (rig, tick, fields) in &expected {
            for (field, value) in fields {
                self.store
                    .insert((rig.clone(), *tick, field.clone()), value.clone());
            }
        }
        // Rows that are flushed together have no defined order.
        let shown = |emission: &Emission| format!("{emission:?}");
        emitted.sort_by_key(shown);
        expected.sort_by_key(shown);
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
        let state = self.state.clone().into_iter().collect();
        self.pivot = Pivot::load(&self.settings, Layout::Tagged, state).unwrap();
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
        let mut pair = Pair::new(settings());
        for op in &ops {
            // Rigs go silent after 20 s; that has a test of its own.
            if pair.now < Duration::from_secs(17) || !matches!(op, Op::Pass(_)) {
                pair.apply(op);
            }
        }
        pair.commit();
        let open = pair.reference.open_readings();
        prop_assert_eq!(i64::try_from(open).unwrap(), pair.open_readings);
    }

    #[test]
    fn limits_refuse_what_the_reference_refuses(
        ops in proptest::collection::vec(any_op(), 1..120),
        (max_series, max_fields, max_row_fields) in (1_usize..4, 2_usize..5, 2_usize..4),
    ) {
        let limits = RowLimits { max_series, max_fields, max_row_fields };
        let mut pair = Pair::new(RowSettings { limits, ..settings() });
        for op in &ops {
            if pair.now < Duration::from_secs(17) || !matches!(op, Op::Pass(_)) {
                pair.apply(op);
            }
        }
        pair.commit();
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
        let mut pair = Pair::new(settings());
        let mut first: BTreeMap<(String, Timestamp, String), Value> = BTreeMap::new();
        for op in ops.iter().filter(in_window) {
            if let Op::Take(taken) = op {
                let tick = taken.time.tick(Duration::from_secs(1));
                for (name, value) in &taken.values {
                    let cell = (taken.rig.clone(), tick, name.clone());
                    first.entry(cell).or_insert_with(|| value.clone());
                }
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
