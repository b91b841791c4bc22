//! Statistics of windows, computed from what was sent, to compare with what is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use testkit::influxdb::BUCKET;
use testkit::{InfluxDb, wait_until};

/// The length of the windows.
pub(crate) const WINDOW_MS: i64 = 1_000;

/// The statistics by series, start of the window in milliseconds, and name.
pub(crate) type Statistics = BTreeMap<(String, i64, String), f64>;

/// What a message holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// The value of the only tag.
    pub(crate) series: &'static str,
    /// Its time.
    pub(crate) ms: i64,
    pub(crate) value: f64,
}

/// The statistics, computed from the messages as the documentation of windows says.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub(crate) fn expected(sent: &[Sent]) -> Statistics {
    let mut windows: BTreeMap<(&str, i64), Vec<f64>> = BTreeMap::new();
    for message in sent {
        let start = message.ms.div_euclid(WINDOW_MS) * WINDOW_MS;
        windows
            .entry((message.series, start))
            .or_default()
            .push(message.value);
    }
    let mut statistics = Statistics::new();
    for ((series, start), mut values) in windows {
        values.sort_by(f64::total_cmp);
        let (count, middle) = (values.len(), values.len() / 2);
        let median = if count % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        for (name, value) in [
            ("count", count as f64),
            ("mean", values.iter().sum::<f64>() / count as f64),
            ("median", median),
            ("min", values[0]),
            ("max", values[count - 1]),
        ] {
            statistics.insert((series.to_owned(), start, name.to_owned()), value);
        }
    }
    statistics
}

/// The statistics in the store.
fn stored(influxdb: &InfluxDb, tag: &str) -> Statistics {
    let points = influxdb.points(BUCKET).into_iter();
    let statistics = points.map(|mut point| {
        let series = point.tags.remove(tag).unwrap_or_default();
        ((series, point.nanos / 1_000_000, point.field), point.value)
    });
    statistics.collect()
}

/// Statistics that are stored with another value, not stored, or stored without having been sent.
pub(crate) fn differences(expected: &Statistics, stored: &Statistics) -> Vec<String> {
    let is_equal = |key: &_, value: f64| {
        let found: Option<&f64> = stored.get(key);
        found.is_some_and(|found| (found - value).abs() <= 1e-9 * value.abs())
    };
    let wrong = expected
        .iter()
        .filter(|(key, value)| !is_equal(key, **value))
        .map(|(key, value)| format!("{key:?} is {:?} instead of {value}", stored.get(key)));
    let unknown = stored
        .keys()
        .filter(|key| !expected.contains_key(*key))
        .map(|key| format!("{key:?} wasn't sent"));
    wrong.chain(unknown).collect()
}

/// Waits until the store has these statistics and no others.
pub(crate) fn assert_stored(
    influxdb: &InfluxDb,
    tag: &str,
    expected: &Statistics,
    limit: Duration,
) {
    let mut wrong = Vec::new();
    let is_equal = wait_until(limit, || {
        wrong = differences(expected, &stored(influxdb, tag));
        wrong.is_empty()
    });
    assert!(is_equal, "{} differ: {:#?}", wrong.len(), wrong.first());
}
