//! Windows and their reference, driven by random steps; and what a store ends with.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Timestamp, Value};
use proptest::prelude::*;

use super::{ALL, apply, emissions, load, sample, settings, try_take};
use crate::settings::{RowLimits, WindowSettings};
use crate::shape::{Counts, Shape};
use crate::testing::Emission;
use crate::window::Windows;
use crate::window::reference::{ReferenceWindows, Taken, readings, row};

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

fn any_values() -> impl Strategy<Value = BTreeMap<&'static str, Value>> {
    let field = prop_oneof![4 => Just("a"), 2 => Just("b"), 1 => Just("c"), 1 => Just("d")];
    let value = prop_oneof![
        4 => (-3_i32..4).prop_map(|number| Value::Float(f64::from(number) / 3.0)),
        1 => Just(Value::Float(1e308)),
        2 => (-2_i64..3).prop_map(Value::Integer),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => "[xy]".prop_map(Value::String),
    ];
    prop_oneof![
        3 => proptest::collection::btree_map(field.clone(), value.clone(), 1),
        1 => proptest::collection::btree_map(field, value, 1..5),
    ]
}

fn any_series() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("R"), 2 => Just("Q"), 1 => Just("P")]
}

/// Samples of `seconds`; some of them arrive at the ingester before their time.
fn any_sample(seconds: std::ops::Range<u32>) -> impl Strategy<Value = Taken> {
    let time = (
        seconds,
        prop_oneof![3 => Just(0.0), 1 => Just(0.25), 1 => Just(0.999)],
    );
    let ahead = prop_oneof![3 => Just(0_i64), 1 => 1_i64..40, 1 => -20_i64..0];
    (any_series(), time, ahead, any_values()).prop_map(|(series, (second, part), ahead, values)| {
        let values: Vec<_> = values.into_iter().collect();
        let taken = sample(f64::from(second) + part, &values);
        let ingested = taken.time.nanos() + ahead * 1_000_000_000;
        Taken {
            series: series.into(),
            ingested: Timestamp::from_nanos(ingested),
            ..taken
        }
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => any_sample(0..90).prop_map(Op::Take),
        3 => (1_u64..9_000).prop_map(Op::Pass),
        3 => Just(Op::Expire),
        3 => Just(Op::Commit),
        1 => Just(Op::Crash),
        1 => Just(Op::Restart),
    ]
}

fn any_settings() -> impl Strategy<Value = WindowSettings> {
    let limits = prop_oneof![
        2 => Just((100, 100, 1_000, 1_000)),
        1 => (1_usize..4, 2_usize..5, 9_usize..40, 2_usize..6),
    ];
    let times = (0_u64..4, 0_u64..40, 14_u64..40, 30_u64..200);
    (limits, times, any::<bool>()).prop_map(|(limits, times, dedupe)| {
        let (max_series, max_fields, max_row_fields, max_window_readings) = limits;
        let (grace, late_window, series_idle, max_age) = times;
        WindowSettings {
            grace: Duration::from_secs(grace),
            late_window: Duration::from_secs(late_window),
            // Longer than a row waits, so that it is known when a series is idle.
            series_idle: Duration::from_secs(series_idle),
            max_age: Duration::from_secs(max_age),
            dedupe,
            max_window_readings,
            limits: RowLimits {
                max_series,
                max_fields,
                max_row_fields,
            },
            ..settings(&ALL)
        }
    })
}

/// What a store keeps: of each series and start the fields, the last value of each.
type Store = BTreeMap<(String, Timestamp, String), Value>;

/// The windows and their reference, driven in the same way as by the run loop.
struct Pair {
    settings: WindowSettings,
    windows: Windows,
    reference: ReferenceWindows,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The reference as of the last commit, and the samples since.
    committed: ReferenceWindows,
    since: Vec<Taken>,
    now: Duration,
    sum: Counts,
    store: Store,
}

impl Pair {
    fn new(settings: &WindowSettings) -> Self {
        Self {
            settings: settings.clone(),
            windows: load(settings, Vec::new()),
            reference: ReferenceWindows::new(settings.clone()),
            committed: ReferenceWindows::new(settings.clone()),
            state: BTreeMap::new(),
            since: Vec::new(),
            now: Duration::ZERO,
            sum: Counts::default(),
            store: BTreeMap::new(),
        }
    }

    fn take(&mut self, taken: &Taken) {
        let refused = try_take(&mut self.windows, taken, self.now);
        assert_eq!(refused, self.reference.take(taken, self.now), "{taken:?}");
    }

    fn commit(&mut self) {
        let changes = self.windows.finish().unwrap();
        let mut emitted = emissions(&changes);
        for (series, start, fields) in &emitted {
            for (field, value) in fields {
                let cell = (series.clone(), *start, field.clone());
                self.store.insert(cell, value.clone());
            }
        }
        let mut expected = std::mem::take(&mut self.reference.emitted);
        // Rows that are emitted together have no defined order, except those of one window.
        let window = |emission: &Emission| (emission.0.clone(), emission.1);
        emitted.sort_by_key(window);
        expected.sort_by_key(window);
        assert_eq!(emitted, expected);
        assert_eq!(changes.counts, std::mem::take(&mut self.reference.counts));
        apply(&changes, &mut self.state, &mut self.sum);
        let open = i64::try_from(self.reference.open_readings()).unwrap();
        assert_eq!(self.sum.open_readings, open);
        self.since.clear();
        self.committed = self.reference.clone();
    }

    fn restart(&mut self) {
        self.now = Duration::ZERO;
        self.windows = load(&self.settings, self.state.clone().into_iter().collect());
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
                assert!(self.windows.expire(self.now, 1_000).unwrap());
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

    /// Waits until everything is emitted.
    fn end(&mut self) {
        self.now += self.settings.every + self.settings.grace;
        self.apply(&Op::Expire);
        self.commit();
        assert_eq!((self.windows.open_rows(), self.sum.open_readings), (0, 0));
    }
}

/// The rows of windows that are computed of all samples at once.
fn computed(settings: &WindowSettings, samples: &[Taken]) -> Store {
    let mut windows: BTreeMap<(String, Timestamp), Vec<_>> = BTreeMap::new();
    for reading in samples.iter().flat_map(|taken| readings(settings, taken)) {
        let window = windows
            .entry((reading.series.clone(), reading.start))
            .or_default();
        if !settings.dedupe || !window.contains(&reading) {
            window.push(reading);
        }
    }
    let mut store = Store::new();
    for ((series, start), window) in windows {
        for (field, value) in row(settings, &window) {
            store.insert((series.clone(), start, field), value);
        }
    }
    store
}

/// Readings that come at most as late as windows can be corrected, whatever their order: each is moved back
/// by less than the late window.
fn any_disorder() -> impl Strategy<Value = Vec<Taken>> {
    let samples = proptest::collection::vec((any_sample(0..200), 0_u32..30_000), 1..80);
    samples.prop_map(|mut samples| {
        samples
            .sort_by_key(|(taken, delay)| taken.time.plus(Duration::from_millis((*delay).into())));
        let samples = samples.into_iter().map(|(taken, _)| Taken {
            values: taken.values.into_iter().filter(is_ordinary).collect(),
            ..taken
        });
        samples.filter(|taken| !taken.values.is_empty()).collect()
    })
}

/// A sum that overflows leaves the store with the one before.
fn is_ordinary((_, value): &(String, Value)) -> bool {
    *value != Value::Float(1e308)
}

fn any_interruption() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1_u64..9_000).prop_map(Op::Pass),
        3 => Just(Op::Expire),
        2 => Just(Op::Commit),
        1 => Just(Op::Crash),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn windows_agree_with_the_reference(
        settings in any_settings(),
        ops in proptest::collection::vec(any_op(), 1..120),
    ) {
        let mut pair = Pair::new(&settings);
        for op in &ops {
            pair.apply(op);
        }
        pair.end();
    }

    /// Neither batches nor restarts nor timers nor the order of arrival nor redeliveries change what a store
    /// ends with.
    #[test]
    fn a_store_ends_with_the_statistics_of_all_readings(
        samples in any_disorder(),
        interruptions in proptest::collection::vec((0_usize..80, any_interruption()), 0..60),
        repeats in proptest::collection::vec((0_usize..80, 0_usize..80), 0..20),
    ) {
        let mut settings = settings(&ALL);
        settings.series_idle = Duration::from_hours(9);
        let mut pair = Pair::new(&settings);
        let mut newest = BTreeMap::new();
        for (place, taken) in samples.iter().enumerate() {
            for (_, op) in interruptions.iter().filter(|(at, _)| *at == place) {
                pair.apply(op);
            }
            pair.apply(&Op::Take(taken.clone()));
            let known = newest.entry(&taken.series).or_insert(taken.time);
            *known = taken.time.max(*known);
            // Of what was sent before, something is sent again.
            for (_, which) in repeats.iter().filter(|(at, _)| *at == place) {
                let again = &samples[which % (place + 1)];
                if again.time.plus(settings.late_window) >= newest[&again.series] {
                    pair.apply(&Op::Take(again.clone()));
                }
            }
        }
        pair.end();
        prop_assert_eq!(pair.store, computed(&settings, &samples));
    }

    #[test]
    fn without_dedupe_every_delivery_counts(
        samples in any_disorder(),
        interruptions in proptest::collection::vec((0_usize..80, any_interruption()), 0..60),
    ) {
        let mut settings = settings(&ALL);
        settings.dedupe = false;
        settings.series_idle = Duration::from_hours(9);
        let mut pair = Pair::new(&settings);
        for (place, taken) in samples.iter().enumerate() {
            for (_, op) in interruptions.iter().filter(|(at, _)| *at == place) {
                pair.apply(op);
            }
            pair.apply(&Op::Take(taken.clone()));
        }
        pair.end();
        prop_assert_eq!(pair.sum.repeated, 0);
        prop_assert_eq!(pair.store, computed(&settings, &samples));
    }
}
