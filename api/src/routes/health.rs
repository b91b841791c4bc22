//! The state of a pipeline: its ledger, its lists, and what it depends on.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use common::harness;
use common::pipelines::Pipeline;
use queue::ledger::{Counter, Ledger};
use serde::Serialize;
use utoipa::ToSchema;

use super::value::Time;
use crate::extract::PipelineName;
use crate::parts::Api;
use crate::problem::{ListProblems, Problem, lists_failed};

/// The state of a pipeline at one instant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PipelineHealth {
    /// Whether all that its stages depend on is up.
    ready: bool,
    /// Whether each line of the ledger holds and no element vanished.
    balanced: bool,
    /// When this was read, by the clock of the lists.
    time: Time,
    /// What its stages depend on.
    dependencies: Vec<DependencyState>,
    /// Elements that wait in its lists.
    lists: ListLengths,
    /// The counters of the ledger.
    counters: BTreeMap<&'static str, i64>,
    /// The lines of the ledger: each has two sides that must be equal.
    ledger: Vec<LedgerLine>,
}

/// Something that a stage depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct DependencyState {
    /// The stage.
    #[schema(example = "sink")]
    pub(crate) stage: String,
    /// What it depends on.
    #[schema(example = "store")]
    name: String,
    /// waiting, up, standby or down.
    #[schema(example = "up")]
    pub(crate) state: String,
    /// How long it has been in this state.
    for_seconds: u64,
    /// The last error, kept after a recovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// How often it failed since the start of the process; the stage tries again after each failure.
    failures: u64,
}

/// Lengths of the lists.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListLengths {
    /// Elements in the raw list.
    raw: i64,
    /// Rows in the normalized list.
    normalized: i64,
    /// Dead letters.
    dead_letters: i64,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LedgerLine {
    /// The equation.
    text: &'static str,
    /// Its left side.
    left: i64,
    /// Its right side.
    right: i64,
}

/// Shows the state of a pipeline.
#[utoipa::path(
    get,
    operation_id = "getHealth",
    path = "/pipelines/{pipeline}/health",
    tag = "pipelines",
    params(PipelineName),
    responses(
        (status = 200, body = PipelineHealth),
        ListProblems,
    ),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
) -> Result<Json<PipelineHealth>, Problem> {
    let part = api.pipeline(&name)?;
    let snapshot = part.lists.snapshot().await.map_err(lists_failed)?;
    let ledger = snapshot.ledger;
    let dependencies = dependencies(&api, &part.pipeline);
    Ok(Json(PipelineHealth {
        ready: is_ready(&dependencies),
        balanced: ledger.is_balanced(),
        time: Time(snapshot.server_time),
        dependencies,
        lists: ListLengths {
            raw: ledger.raw,
            normalized: ledger.normalized,
            dead_letters: ledger.dead,
        },
        counters: counters(&ledger),
        ledger: lines(&ledger),
    }))
}

/// Whether all that the stages depend on is up.
pub(crate) fn is_ready(dependencies: &[DependencyState]) -> bool {
    !dependencies.is_empty() && dependencies.iter().all(|one| one.state == "up")
}

/// The counters by name.
pub(crate) fn counters(ledger: &Ledger) -> BTreeMap<&'static str, i64> {
    Counter::ALL
        .map(|counter| (counter.name(), ledger.get(counter)))
        .into()
}

/// The lines with both sides.
pub(crate) fn lines(ledger: &Ledger) -> Vec<LedgerLine> {
    let lines = ledger.lines().into_iter().map(|line| LedgerLine {
        text: line.text,
        left: line.left,
        right: line.right,
    });
    lines.collect()
}

/// The dependencies of a pipeline's stages.
pub(crate) fn dependencies(api: &Api, pipeline: &Pipeline) -> Vec<DependencyState> {
    let report = api.health().report();
    let of_pipeline = report.dependencies.into_iter().filter_map(|dependency| {
        let (stage, of) = harness::stage_and_pipeline(&dependency.stage);
        (of == pipeline.name()).then(|| DependencyState {
            stage: stage.to_owned(),
            name: dependency.name.to_string(),
            state: dependency.state.name().to_owned(),
            for_seconds: dependency.for_seconds,
            last_error: dependency.last_error,
            failures: dependency.failures,
        })
    });
    of_pipeline.collect()
}
