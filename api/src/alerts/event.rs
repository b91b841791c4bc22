//! What is reported of alerts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::machine::{AlertKind, AlertState, Transition};
use super::rule::Rule;

/// An alert that began or ended, as it is stored and posted to webhooks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// The same in every attempt to deliver it, and no other event's.
    pub(crate) id: String,
    pub(crate) alert: String,
    pub(crate) pipeline: String,
    /// The key of the series.
    pub(crate) series: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) field: String,
    pub(crate) kind: AlertKind,
    /// Firing or resolved.
    pub(crate) state: AlertState,
    pub(crate) value: Option<f64>,
    /// The threshold that was crossed; none if the series is stale.
    pub(crate) threshold: Option<f64>,
    /// The time of the row, in RFC 3339; that of the clock if there was none.
    pub(crate) time: String,
}

impl Event {
    pub(crate) fn new(
        pipeline: &str,
        rule: &Rule,
        series: &str,
        tags: BTreeMap<String, String>,
        transition: &Transition,
    ) -> Self {
        Self {
            id: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
            alert: rule.name.clone(),
            pipeline: pipeline.to_owned(),
            series: series.to_owned(),
            tags,
            field: rule.field.clone(),
            kind: transition.kind,
            state: transition.state,
            value: transition.value,
            threshold: transition.threshold,
            time: transition.time.to_string(),
        }
    }
}

/// An event that a webhook hasn't taken yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// When it was made, in nanoseconds since 1970.
    pub(crate) created: i64,
    pub(crate) event: Event,
}
