mod limits;
mod properties;
mod state;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use model::dead_letter::Reason;
use model::element::RawSample;
use model::pipeline::Statistic;
use model::{Layout, Name, Timestamp, Value};

use super::Windows;
use super::reference::Taken;
use crate::settings::{RowLimits, WindowSettings};
use crate::shape::{Changes, Counts, Shape};
use crate::testing::{self, Emission};

/// A full hour.
const BASE_MS: i64 = 1_762_092_000_000;

const ALL: [(&str, Statistic); 9] = [
    ("count", Statistic::Count),
    ("mean", Statistic::Mean),
    ("median", Statistic::Median),
    ("min", Statistic::Min),
    ("max", Statistic::Max),
    ("sum", Statistic::Sum),
    ("stddev", Statistic::Stddev),
    ("first", Statistic::First),
    ("last", Statistic::Last),
];

/// Windows of 10 s with a grace period of 2 s that can be corrected for 30 s.
fn settings(statistics: &[(&str, Statistic)]) -> WindowSettings {
    let statistics = statistics.iter();
    WindowSettings {
        every: Duration::from_secs(10),
        statistics: statistics
            .map(|(name, of)| ((*name).to_owned(), *of))
            .collect(),
        names: "{field}_{statistic}".to_owned(),
        grace: Duration::from_secs(2),
        late_window: Duration::from_secs(30),
        max_age: Duration::from_hours(1),
        series_idle: Duration::from_mins(2),
        dedupe: true,
        max_window_readings: 1_000_000,
        limits: RowLimits {
            max_series: 100,
            max_fields: 100,
            max_row_fields: 1_000,
        },
    }
}

/// A sample of series R, so many seconds after the base, that arrived at the ingester 50 ms later.
fn sample(seconds: f64, values: &[(&str, Value)]) -> Taken {
    let time = time(seconds);
    let values = values.iter();
    Taken {
        series: "R".into(),
        time,
        ingested: time.plus(Duration::from_millis(50)),
        values: values
            .map(|(field, value)| ((*field).to_owned(), value.clone()))
            .collect(),
    }
}

/// A reading of the field `a`.
fn reading(seconds: f64, value: f64) -> Taken {
    sample(seconds, &[("a", value.into())])
}

fn time(seconds: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "tests use few seconds")]
    let ms = (seconds * 1_000.0).round() as i64;
    Timestamp::from_millis(BASE_MS + ms)
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn load(settings: &WindowSettings, state: queue::State) -> Windows {
    Windows::load(settings, Layout::Tagged, state).unwrap()
}

fn key(series: &str) -> String {
    let tags = [(Name::new("device").unwrap(), Name::new(series).unwrap())];
    Layout::Tagged.series_key(&tags).into_owned()
}

/// Takes a sample, or returns the reason why it is refused.
fn try_take(windows: &mut impl Shape, taken: &Taken, now: Duration) -> Option<Reason> {
    let values = taken.values.iter();
    let values = values.map(|(name, value)| (Name::new(name.as_str()).unwrap(), value.clone()));
    let sample = RawSample {
        series: key(&taken.series).into(),
        timestamp: taken.time,
        ingest_time: taken.ingested,
        values: values.collect(),
    };
    let taken = windows.take(&sample, now).unwrap();
    taken.err().map(|rejection| rejection.reason)
}

fn take(windows: &mut impl Shape, taken: &Taken, now: Duration) {
    assert_eq!(try_take(windows, taken, now), None, "{taken:?}");
}

fn emissions(changes: &Changes) -> Vec<Emission> {
    testing::emissions(Layout::Tagged, changes)
}

/// Rows in a short form: seconds after the base, then the fields; a count is `#`.
fn shown(changes: &Changes) -> Vec<String> {
    let show = |(series, start, fields): &Emission| {
        let fields = fields.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| match value {
                Value::Float(number) => format!("{name}={number}"),
                other => format!("{name}={other}"),
            })
            .collect();
        let series = if series == "R" { "" } else { series };
        let start = start.seconds() - BASE_MS / 1_000;
        format!("{series}{start} {}", fields.join(" "))
    };
    emissions(changes).iter().map(show).collect()
}

/// Windows, and all that a queue and a store keep of them.
struct Line {
    settings: WindowSettings,
    windows: Windows,
    now: Duration,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    sum: Counts,
}

impl Line {
    fn new(settings: &WindowSettings) -> Self {
        Self {
            settings: settings.clone(),
            windows: load(settings, Vec::new()),
            now: Duration::ZERO,
            state: BTreeMap::new(),
            sum: Counts::default(),
        }
    }

    /// Commits, and checks that the ledger is exact.
    fn commit(&mut self) -> Changes {
        let changes = self.windows.finish().unwrap();
        apply(&changes, &mut self.state, &mut self.sum);
        changes
    }

    /// The rows of a step: samples, then elapsed time, then a commit.
    fn step(&mut self, samples: &[Taken], pass: f64) -> Vec<String> {
        for sample in samples {
            take(&mut self.windows, sample, self.now);
        }
        self.now += seconds(pass);
        assert!(self.windows.expire(self.now, 1_000).unwrap());
        shown(&self.commit())
    }

    /// A restart, perhaps with other settings.
    fn restart(&mut self, settings: &WindowSettings) {
        self.now = Duration::ZERO;
        self.settings = settings.clone();
        self.windows = load(settings, self.state.clone().into_iter().collect());
    }
}

/// Writes changes into a state, and checks that they can be written in any order and that the ledger is
/// exact.
fn apply(changes: &Changes, state: &mut BTreeMap<Vec<u8>, Vec<u8>>, sum: &mut Counts) {
    for key in &changes.deletes {
        let is_put = changes.puts.iter().any(|(put, _)| put == key);
        assert!(!is_put, "put and deleted: {}", key.escape_ascii());
        state.remove(key);
    }
    state.extend(changes.puts.iter().cloned());
    *sum += changes.counts;
    let open = u64::try_from(sum.open_readings).unwrap();
    assert_eq!(
        sum.readings,
        sum.repeated + sum.superseded + sum.in_rows + open
    );
}

/// Checks a table of steps: samples, then elapsed seconds, and the expected rows.
fn check(settings: &WindowSettings, steps: &[(&[Taken], f64, &[&str])]) -> Counts {
    let mut line = Line::new(settings);
    for (place, (samples, pass, rows)) in steps.iter().enumerate() {
        assert_eq!(line.step(samples, *pass), *rows, "step {place}");
    }
    line.sum
}
