//! The newest values of all series, and which of them changed.

use std::collections::HashMap;
use std::sync::Arc;

use common::pipelines::Pipeline;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use store::history::SeriesLatest;
use utoipa::ToSchema;

use crate::routes::series::unit;
use crate::routes::value::{Cell, Time};

/// Data of the event `rows`: series whose newest values changed since the last event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveRows<'a> {
    /// When this was read, by the server's clock.
    pub(crate) time: Time,
    /// Whether these are all series: so in the first event, and when a series is gone.
    pub(crate) all: bool,
    /// The series that changed, or all.
    #[schema(value_type = Vec<LiveSeries>)]
    pub(crate) series: Vec<&'a RawValue>,
}

/// The newest values of a series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveSeries<'a> {
    /// Its key.
    #[schema(example = "RIG-01")]
    key: &'a str,
    /// The newest value of each field, ordered by name.
    values: Vec<LiveValue<'a>>,
}

/// The newest value of a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveValue<'a> {
    /// The field.
    field: &'a str,
    /// The value.
    value: Cell,
    /// What it is measured in, if the pipeline's file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// The time of its row.
    time: Time,
}

/// The newest values of all series.
#[derive(Debug, Clone, Default)]
pub(super) struct AllRows {
    /// Ordered by key.
    series: Vec<OneSeries>,
    /// The number of the state in which a series was missing that was there before.
    reset: u64,
    /// The number of the state in which any series changed.
    changed: u64,
}

#[derive(Debug, Clone)]
struct OneSeries {
    latest: Arc<SeriesLatest>,
    /// A [`LiveSeries`]; written once for all readers.
    json: Arc<RawValue>,
    /// The number of the state in which it changed.
    changed: u64,
}

impl AllRows {
    /// The rows of the state `number`, after those of an earlier one.
    pub(super) fn next(&self, read: Vec<SeriesLatest>, pipeline: &Pipeline, number: u64) -> Self {
        let mut before: HashMap<_, _> = self
            .series
            .iter()
            .map(|one| (one.latest.key.as_str(), one))
            .collect();
        let mut changed = self.changed;
        let mut series = Vec::with_capacity(read.len());
        for latest in read {
            match before.remove(latest.key.as_str()) {
                Some(one) if *one.latest == latest => series.push(one.clone()),
                _ => {
                    changed = number;
                    // Serializing strings and numbers can't fail.
                    let Ok(json) = to_raw_value(&described(&latest, pipeline)) else {
                        continue;
                    };
                    series.push(OneSeries {
                        latest: Arc::new(latest),
                        json: json.into(),
                        changed: number,
                    });
                }
            }
        }
        let is_gone = !before.is_empty();
        Self {
            series,
            reset: if is_gone { number } else { self.reset },
            changed: if is_gone { number } else { changed },
        }
    }

    /// What changed after the state `seen`; everything if it is `None`.
    pub(super) fn since(&self, seen: Option<u64>, time: Time) -> Option<LiveRows<'_>> {
        let all = seen.is_none_or(|seen| seen < self.reset);
        if !all && seen.is_some_and(|seen| seen >= self.changed) {
            return None;
        }
        let wanted = |one: &&OneSeries| all || seen.is_some_and(|seen| seen < one.changed);
        let series = self.series.iter().filter(wanted);
        Some(LiveRows {
            time,
            all,
            series: series.map(|one| &*one.json).collect(),
        })
    }
}

fn described<'a>(latest: &'a SeriesLatest, pipeline: &Pipeline) -> LiveSeries<'a> {
    let values = latest.values.iter().map(|one| LiveValue {
        field: &one.field,
        value: Cell(one.value.clone()),
        unit: unit(pipeline, &one.field),
        time: Time(one.tick),
    });
    LiveSeries {
        key: &latest.key,
        values: values.collect(),
    }
}

#[cfg(test)]
mod tests {
    use common::pipelines::Pipeline;
    use model::{Timestamp, Value};
    use store::history::{Latest, SeriesLatest};

    use super::AllRows;
    use crate::routes::value::Time;

    fn series(key: &str, value: f64) -> SeriesLatest {
        SeriesLatest {
            key: key.to_owned(),
            values: vec![Latest {
                field: "flow".to_owned(),
                tick: Timestamp::from_nanos(0),
                value: Value::Float(value),
            }],
        }
    }

    fn keys(rows: &AllRows, seen: Option<u64>) -> Option<(bool, Vec<String>)> {
        let rows = rows.since(seen, Time(Timestamp::from_nanos(0)))?;
        let key = |json: &&serde_json::value::RawValue| {
            let one: serde_json::Value = serde_json::from_str(json.get()).unwrap();
            one["key"].as_str().unwrap().to_owned()
        };
        Some((rows.all, rows.series.iter().map(key).collect()))
    }

    #[test]
    fn each_reader_gets_what_it_has_not_seen() {
        let pipeline = Pipeline::Rigs(None);
        let of = |keys: &[&str]| Some((false, keys.iter().map(ToString::to_string).collect()));
        let all = |keys: &[&str]| Some((true, keys.iter().map(ToString::to_string).collect()));
        let first = AllRows::default().next(vec![series("a", 1.0), series("b", 1.0)], &pipeline, 1);
        assert_eq!(keys(&first, None), all(&["a", "b"]));
        assert_eq!(keys(&first, Some(1)), None);
        let second = first.next(vec![series("a", 1.0), series("b", 2.0)], &pipeline, 2);
        assert_eq!(keys(&second, Some(1)), of(&["b"]));
        let third = second.next(vec![series("a", 3.0), series("b", 2.0)], &pipeline, 3);
        assert_eq!(keys(&third, Some(2)), of(&["a"]));
        assert_eq!(keys(&third, Some(1)), of(&["a", "b"]));
        // A series is gone.
        let fourth = third.next(vec![series("a", 3.0)], &pipeline, 4);
        assert_eq!(keys(&fourth, Some(3)), all(&["a"]));
        assert_eq!(keys(&fourth, Some(4)), None);
    }
}
