//! The rule of an alert, as the evaluation uses it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use common::pipelines::Pipeline;
use model::Timestamp;
use model::pipeline::{AlertTable, PipelineFile, ShapeKind};

/// A row older than this, beyond what its alert waits for, is a backfilled one: it doesn't raise an alert.
const MARGIN: Duration = Duration::from_mins(1);
/// How long rows of a window wait for late readings, unless the file says otherwise.
const USUAL_GRACE: Duration = Duration::from_secs(2);
/// How long a partial row of a pivot waits, unless the file says otherwise.
const USUAL_FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// The rule of an alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) field: String,
    pub(crate) above: Option<Limit>,
    pub(crate) below: Option<Limit>,
    /// How long values have to be beyond a limit.
    pub(crate) hold: Duration,
    pub(crate) stale_after: Option<Duration>,
    /// The tags that a series has to have.
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) webhooks: Vec<String>,
    /// How long after its time a row is there at the latest, if its readings come at once.
    pub(crate) delay: Duration,
}

/// A threshold, and the value at which the alert is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit {
    pub(crate) threshold: f64,
    pub(crate) clear: f64,
}

impl Rule {
    /// The rules of a file.
    pub(crate) fn all(file: &PipelineFile) -> Vec<Self> {
        let delay = delay(file);
        let rules = file.alert.iter().map(|alert| Self::new(alert, delay));
        rules.collect()
    }

    fn new(alert: &AlertTable, delay: Duration) -> Self {
        let number = |number: &Option<_>| {
            number
                .as_deref()
                .map(|number: &model::pipeline::Number| number.0)
        };
        let limit = |threshold, clear| {
            number(threshold).map(|threshold| Limit {
                threshold,
                clear: number(clear).unwrap_or(threshold),
            })
        };
        let webhooks = alert.webhooks.iter();
        Self {
            name: alert.name.to_string(),
            field: alert.field.to_string(),
            above: limit(&alert.above, &alert.clear_below),
            below: limit(&alert.below, &alert.clear_above),
            hold: alert.hold(),
            stale_after: alert.stale_after.as_deref().map(|period| period.0),
            tags: alert.tags.clone(),
            webhooks: webhooks.map(|url| url.to_string()).collect(),
            delay,
        }
    }

    /// The threshold that a value is beyond.
    pub(crate) fn crossed(&self, value: f64) -> Option<f64> {
        let above = self.above.filter(|above| value > above.threshold);
        let below = self.below.filter(|below| value < below.threshold);
        above.or(below).map(|limit| limit.threshold)
    }

    /// Whether the alert is over at this value.
    pub(crate) fn is_cleared(&self, value: f64) -> bool {
        let below_upper = self.above.is_none_or(|above| value <= above.clear);
        below_upper && self.below.is_none_or(|below| value >= below.clear)
    }

    /// Rows at this time and before are backfilled ones.
    pub(crate) fn backfilled_until(&self, now: Timestamp) -> Timestamp {
        now.minus(self.hold).minus(self.delay).minus(MARGIN)
    }

    /// Whether a series whose newest row is of this time is stale.
    pub(crate) fn is_stale(&self, newest: Timestamp, now: Timestamp) -> bool {
        let stale_after = self.stale_after;
        stale_after.is_some_and(|after| now.since(newest.plus(self.delay)) > after)
    }

    /// Whether the alert is for the series with these tags.
    pub(crate) fn is_for(&self, tags: &BTreeMap<String, String>) -> bool {
        let mut wanted = self.tags.iter();
        wanted.all(|(name, value)| tags.get(name) == Some(value))
    }

    /// The condition for people: `above 90, clears below 85`.
    pub(crate) fn condition(&self) -> String {
        let mut text = String::new();
        let sides = [
            (self.above, "above", "below"),
            (self.below, "below", "above"),
        ];
        for (limit, beyond, back) in sides {
            let Some(Limit { threshold, clear }) = limit else {
                continue;
            };
            if !text.is_empty() {
                text.push_str("; ");
            }
            let _ = write!(text, "{beyond} {threshold}");
            #[expect(clippy::float_cmp, reason = "it is the threshold itself by default")]
            if clear != threshold {
                let _ = write!(text, ", clears {back} {clear}");
            }
        }
        text
    }
}

/// How long after its time a row of this pipeline is there at the latest, if its readings come at once.
pub(crate) fn usual_delay(pipeline: &Pipeline) -> Duration {
    pipeline.file().map_or(USUAL_FLUSH_INTERVAL, delay)
}

/// The same for a pipeline's file: the time of a window is its start.
fn delay(file: &PipelineFile) -> Duration {
    let rows = &file.rows;
    let period = |period: &Option<_>, usual| {
        period
            .as_deref()
            .map_or(usual, |period: &model::pipeline::Period| period.0)
    };
    match file.shape() {
        ShapeKind::Pivot => period(&rows.flush_interval, USUAL_FLUSH_INTERVAL),
        ShapeKind::Window => period(&rows.every, Duration::ZERO) + period(&rows.grace, USUAL_GRACE),
        ShapeKind::Sample => Duration::ZERO,
    }
}
