//! The alerts of a pipeline.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::value::Time;
use crate::alerts::{AlertKind, AlertState};
use crate::extract::PipelineName;
use crate::parts::Api;
use crate::problem::{ListProblems, Problem};

/// The alerts of a pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alerts {
    /// The alerts of the pipeline's file.
    rules: Vec<AlertRule>,
    /// Their states, ordered by alert and series.
    states: Vec<AlertOfSeries>,
    /// Alerts that began or ended, the newest first, at most 100.
    events: Vec<AlertEvent>,
}

/// An alert of a pipeline's file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertRule {
    /// Its name.
    #[schema(example = "too warm")]
    name: String,
    /// The field.
    #[schema(example = "temperature")]
    field: String,
    /// When it begins, and when it ends.
    #[schema(example = "above 90, clears below 85")]
    condition: String,
    /// How long values have to be beyond the threshold.
    for_seconds: f64,
    /// After how long without a row a series is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_after_seconds: Option<f64>,
}

/// The state of an alert of a series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertOfSeries {
    /// The alert.
    #[schema(example = "too warm")]
    alert: String,
    /// The key of the series.
    series: String,
    /// Its state.
    state: AlertState,
    /// What it reports.
    kind: AlertKind,
    /// The newest value, if there was a number.
    value: Option<f64>,
    /// Since when it has been in this state, by the rows' times.
    since: Time,
}

/// An alert that began or ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertEvent {
    /// Its id, as webhooks get it.
    id: String,
    /// The alert.
    #[schema(example = "too warm")]
    alert: String,
    /// The key of the series.
    series: String,
    /// What it reports.
    kind: AlertKind,
    /// Firing or resolved.
    state: AlertState,
    /// The value, if there was a number.
    value: Option<f64>,
    /// The time of the row; that of the clock if there was none.
    #[schema(format = DateTime)]
    time: String,
}

/// Shows the alerts of a pipeline: their rules, states and events.
#[utoipa::path(
    get,
    operation_id = "getAlerts",
    path = "/pipelines/{pipeline}/alerts",
    tag = "alerts",
    params(PipelineName),
    responses(
        (status = 200, body = Alerts),
        ListProblems,
    ),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
) -> Result<Json<Alerts>, Problem> {
    let board = &api.pipeline(&name)?.alerts;
    let shown = board.shown();
    let rules = board.rules.iter().map(|rule| AlertRule {
        name: rule.name.clone(),
        field: rule.field.clone(),
        condition: rule.condition(),
        for_seconds: rule.hold.as_secs_f64(),
        stale_after_seconds: rule.stale_after.map(|after| after.as_secs_f64()),
    });
    let states = shown.states.iter().map(|of| AlertOfSeries {
        alert: of.alert.clone(),
        series: of.series.clone(),
        state: of.state,
        kind: of.kind,
        value: of.value,
        since: Time(of.since),
    });
    let events = shown.events.iter().map(|event| AlertEvent {
        id: event.id.clone(),
        alert: event.alert.clone(),
        series: event.series.clone(),
        kind: event.kind,
        state: event.state,
        value: event.value,
        time: event.time.clone(),
    });
    Ok(Json(Alerts {
        rules: rules.collect(),
        states: states.collect(),
        events: events.collect(),
    }))
}
