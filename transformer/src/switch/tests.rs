use std::collections::BTreeMap;
use std::time::Duration;

use model::element::RawSample;
use model::pipeline::Statistic;
use model::{Layout, Name, Timestamp, Value};
use proptest::prelude::*;

use super::{NO_LIMITS, window_settings};
use crate::settings::{RowSettings, SampleSettings, ShapeSettings, WindowSettings};
use crate::shape::{self, Counts, Shape};

const BASE_MS: i64 = 1_762_092_000_000;

fn pivot() -> ShapeSettings {
    ShapeSettings::Pivot(RowSettings {
        align: Duration::from_secs(1),
        flush_interval: Duration::from_secs(2),
        late_window: Duration::from_mins(1),
        rig_idle: Duration::from_hours(1),
        expected_sensors: vec![Name::new("a").unwrap(), Name::new("b").unwrap()],
        max_open_rows: 100,
        limits: NO_LIMITS,
    })
}

fn window() -> ShapeSettings {
    let statistics = [("n", Statistic::Count), ("sum", Statistic::Sum)];
    ShapeSettings::Window(WindowSettings {
        every: Duration::from_secs(10),
        statistics: statistics.map(|(name, of)| (name.into(), of)).into(),
        grace: Duration::from_secs(2),
        late_window: Duration::from_mins(1),
        series_idle: Duration::from_hours(1),
        max_age: Duration::from_hours(1),
        dedupe: true,
        ..window_settings()
    })
}

fn sample() -> ShapeSettings {
    ShapeSettings::Sample(SampleSettings {
        max_row_fields: 100,
        precision: Duration::ZERO,
    })
}

/// A pipeline whose shape may change, and all that a queue keeps of it.
struct Pipeline {
    shape: Box<dyn Shape>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    sum: Counts,
}

impl Pipeline {
    fn new(settings: &ShapeSettings) -> Self {
        Self {
            shape: shape::load(settings, Layout::Tagged, Vec::new()).unwrap(),
            state: BTreeMap::new(),
            sum: Counts::default(),
        }
    }

    fn restart(&mut self, settings: &ShapeSettings) {
        let state = self.state.clone().into_iter().collect();
        self.shape = shape::load(settings, Layout::Tagged, state).unwrap();
    }

    fn take(&mut self, ms: i64, field: &'static str, value: f64) {
        let time = Timestamp::from_millis(BASE_MS + ms);
        let sample = RawSample {
            series: r#"{"device":"R"}"#.into(),
            timestamp: time,
            ingest_time: time,
            values: [(Name::new(field).unwrap(), Value::Float(value))].into(),
        };
        self.shape.take(&sample, Duration::ZERO).unwrap().unwrap();
    }

    /// Commits. Returns the rows: seconds after the base, then the fields.
    fn commit(&mut self) -> Vec<String> {
        let changes = self.shape.finish().unwrap();
        for key in &changes.deletes {
            let is_put = changes.puts.iter().any(|(put, _)| put == key);
            assert!(!is_put, "put and deleted: {}", key.escape_ascii());
            // Up to where windows were let go may not have been written yet.
            let was_there = self.state.remove(key).is_some() || key[0] == b'f';
            assert!(was_there, "{}", key.escape_ascii());
        }
        self.state.extend(changes.puts.iter().cloned());
        self.sum += changes.counts;
        let open = u64::try_from(self.sum.open_readings).unwrap();
        let Counts {
            repeated,
            superseded,
            in_rows,
            ..
        } = self.sum;
        assert_eq!(self.sum.readings, repeated + superseded + in_rows + open);
        let show = |element: &Vec<u8>| {
            let row = Layout::Tagged.decode_row(element).unwrap();
            let fields = row.fields.iter();
            let fields: Vec<_> = fields
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let ms = row.timestamp.nanos() / 1_000_000 - BASE_MS;
            format!("{ms} {}", fields.join(" "))
        };
        changes.rows.iter().map(show).collect()
    }

    /// The first bytes of the state's keys.
    fn prefixes(&self) -> String {
        let mut prefixes: Vec<char> = self.state.keys().map(|key| char::from(key[0])).collect();
        prefixes.dedup();
        prefixes.into_iter().collect()
    }
}

#[test]
fn what_one_shape_left_open_is_in_the_next_ones_first_commit() {
    let mut pipeline = Pipeline::new(&pivot());
    pipeline.take(0, "a", 1.0);
    pipeline.take(0, "b", 2.0);
    pipeline.take(1_000, "a", 3.0);
    assert_eq!(pipeline.commit(), ["0 a=1.0 b=2.0"]);
    assert_eq!(
        (pipeline.sum.open_readings, &*pipeline.prefixes()),
        (1, "rs")
    );

    pipeline.restart(&window());
    pipeline.take(1_500, "a", 4.0);
    pipeline.take(70_001, "c", 5.0);
    // In front of the rows of the new shape, here of a window that is let go.
    assert_eq!(pipeline.commit(), ["1000 a=3.0", "0 a_n=1 a_sum=4.0"]);
    assert_eq!(
        (pipeline.sum.open_readings, &*pipeline.prefixes()),
        (1, "fw")
    );
    pipeline.take(70_002, "c", 6.0);
    assert_eq!(pipeline.commit(), [""; 0]);

    pipeline.restart(&sample());
    // The statistics of the windows aren't known any more: the default ones.
    let rows = pipeline.commit();
    assert_eq!(
        rows,
        ["70000 c_count=2 c_mean=5.5 c_median=5.5 c_min=5.0 c_max=6.0"]
    );
    pipeline.take(71_000, "a", 7.0);
    assert_eq!(pipeline.commit(), ["71000 a=7.0"]);
    assert_eq!((pipeline.sum.open_readings, &*pipeline.prefixes()), (0, ""));

    pipeline.restart(&pivot());
    pipeline.take(72_000, "a", 8.0);
    assert_eq!(pipeline.commit(), [""; 0]);
    assert_eq!(
        (pipeline.sum.open_readings, &*pipeline.prefixes()),
        (1, "rs")
    );

    pipeline.restart(&sample());
    pipeline.take(73_000, "a", 9.0);
    assert_eq!(pipeline.commit(), ["72000 a=8.0", "73000 a=9.0"]);
    assert_eq!((pipeline.sum.open_readings, &*pipeline.prefixes()), (0, ""));
    assert_eq!((pipeline.sum.readings, pipeline.sum.in_rows), (9, 9));
    assert_eq!((pipeline.sum.complete, pipeline.sum.partial), (1, 2));
    assert_eq!((pipeline.sum.windows, pipeline.sum.samples), (2, 2));
}

/// The state is as before, and another start does the same.
#[test]
fn a_switch_that_is_not_committed_changes_nothing() {
    let mut pipeline = Pipeline::new(&pivot());
    pipeline.take(0, "a", 1.0);
    pipeline.commit();
    pipeline.restart(&window());
    pipeline.take(0, "a", 1.0);
    assert_eq!(pipeline.shape.finish().unwrap().rows.len(), 1);
    pipeline.restart(&sample());
    assert_eq!(pipeline.commit(), ["0 a=1.0"]);
}

#[test]
fn entries_of_no_shape_are_deleted_by_each() {
    for settings in [pivot(), window(), sample()] {
        let mut pipeline = Pipeline::new(&settings);
        pipeline.state.insert(b"?".to_vec(), Vec::new());
        pipeline.state.insert(Vec::new(), Vec::new());
        pipeline.restart(&settings);
        assert_eq!(pipeline.commit(), [""; 0]);
        assert!(pipeline.state.is_empty());
    }
}

#[derive(Debug, Clone)]
enum Op {
    Take(i64, &'static str, f64),
    Expire(u64),
    Commit,
    /// Another shape, with everything since the last commit lost.
    Switch(usize),
}

fn any_op() -> impl Strategy<Value = Op> {
    let field = prop_oneof![Just("a"), Just("b"), Just("c")];
    let time = (0_i64..60_000).prop_map(|ms| ms / 500 * 500);
    prop_oneof![
        8 => (time, field, 0_u8..4).prop_map(|(ms, field, value)| Op::Take(ms, field, value.into())),
        2 => (0_u64..15).prop_map(Op::Expire),
        3 => Just(Op::Commit),
        2 => (0_usize..3).prop_map(Op::Switch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever shapes follow one another, the ledger is exact after every commit, and in the end every
    /// reading is in a row, repeated or superseded.
    #[test]
    fn no_reading_is_lost_between_shapes(ops in proptest::collection::vec(any_op(), 1..80)) {
        let shapes = [pivot(), window(), sample()];
        let mut pipeline = Pipeline::new(&shapes[0]);
        let (mut committed, mut since) = (0, 0);
        for op in ops {
            match op {
                Op::Take(ms, field, value) => {
                    pipeline.take(ms, field, value);
                    since += 1;
                }
                Op::Expire(seconds) => {
                    pipeline.shape.expire(Duration::from_secs(seconds), 1_000).unwrap();
                }
                Op::Commit => {
                    pipeline.commit();
                    committed += std::mem::take(&mut since);
                }
                Op::Switch(shape) => {
                    since = 0;
                    pipeline.restart(&shapes[shape]);
                }
            }
            prop_assert_eq!(pipeline.sum.readings, committed);
        }
        pipeline.restart(&sample());
        pipeline.commit();
        prop_assert!(pipeline.state.is_empty());
        prop_assert_eq!(pipeline.sum.open_readings, 0);
        prop_assert_eq!(pipeline.sum.readings, committed);
    }
}
