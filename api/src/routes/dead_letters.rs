//! The dead letters of a pipeline.

mod handle;

use axum::Json;
use axum::extract::{Path, State};
use model::Stage;
use model::dead_letter::{DeadLetter, Handled, Reason, Summary, id_of};
use queue::{DeadLetterEntry, DeadLetters, Lists, QueueError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::extract::{PipelineName, Query};
use crate::parts::Api;
use crate::problem::{ListProblems, Problem, lists_failed};

pub(crate) use self::handle::{__path_discard, __path_replay, discard, replay};

/// Dead letters of a page unless the query says otherwise.
const DEFAULT_LIMIT: usize = 100;
/// Most dead letters of a page.
const MAX_LIMIT: usize = 1_000;
/// Dead letters that are read at once.
const PAGE: usize = 1_000;

/// Which dead letters to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only those with this reason.
    #[param(example = "bad_value")]
    reason: Option<String>,
    /// Only those of this stage: ingester, transformer or sink.
    #[param(example = "ingester")]
    stage: Option<String>,
    /// Also list those that were discarded, whose payloads are gone.
    #[serde(default)]
    discarded: bool,
    /// Most dead letters to list [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Dead letters, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterList {
    dead_letters: Vec<DeadLetterInfo>,
}

/// An input that couldn't be used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterInfo {
    /// Its id.
    id: String,
    /// When the input arrived at the stage, RFC 3339.
    time: String,
    /// The stage that rejected it.
    #[schema(example = "ingester")]
    stage: &'static str,
    /// Why it can't be used.
    #[schema(example = "bad_value")]
    reason: &'static str,
    /// What exactly is wrong.
    detail: String,
    /// Where it came from: an MQTT topic, or the name of a list.
    topic: String,
    /// The input: text, or base64 if `encoding` says so. Of one that is too large only the first KiB.
    payload: String,
    /// `base64` for bytes that aren't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    /// If only parts of the input can't be used: JSON pointers to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    places: Vec<String>,
    /// The stores that refused a row, if its pipeline has several. A replay goes to these only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stores: Vec<String>,
    /// When it was replayed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<String>,
    /// When it was discarded, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    discarded: Option<String>,
}

/// Numbers of dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct DeadLetterCounts {
    /// Numbers by stage, reason, and whether they were replayed or discarded.
    counts: Vec<DeadLetterCount>,
    /// Elements of the list that aren't dead letters of Rigline.
    foreign: usize,
}

/// A number of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct DeadLetterCount {
    /// The stage that rejected them.
    stage: &'static str,
    /// Why they can't be used.
    reason: &'static str,
    /// Whether they were replayed.
    replayed: bool,
    /// Whether they were discarded.
    discarded: bool,
    /// How many there are.
    count: usize,
}

impl From<DeadLetter> for DeadLetterInfo {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            time: letter.time,
            stage: letter.stage.name(),
            reason: letter.reason.as_str(),
            detail: letter.detail,
            topic: letter.topic,
            payload: letter.payload,
            encoding: letter.encoding,
            places: letter.places,
            stores: letter.stores,
            replayed: letter.replayed,
            discarded: letter.discarded,
        }
    }
}

/// Calls `take` with dead letters, the newest first, until it returns false.
async fn newest_first(
    lists: &Lists,
    mut take: impl FnMut(DeadLetterEntry) -> bool,
) -> Result<(), Problem> {
    let dead = lists.snapshot().await.map_err(lists_failed)?.ledger.dead;
    let mut rest = usize::try_from(dead).unwrap_or(0);
    while rest > 0 {
        let count = rest.min(PAGE);
        rest -= count;
        let letters = lists
            .dead_letters(rest, count)
            .await
            .map_err(lists_failed)?;
        for letter in letters.into_iter().rev() {
            if !take(letter) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Lists dead letters, the newest first.
#[utoipa::path(
    get,
    operation_id = "listDeadLetters",
    path = "/pipelines/{pipeline}/dead-letters",
    tag = "dead letters",
    params(PipelineName, ListQuery),
    responses(
        (status = 200, body = DeadLetterList),
        ListProblems,
    ),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
    Query(query): Query<ListQuery>,
) -> Result<Json<DeadLetterList>, Problem> {
    let part = api.pipeline(&name)?;
    let reason: Option<Reason> = parsed("reason", query.reason.as_deref())?;
    let stage: Option<Stage> = parsed("stage", query.stage.as_deref())?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > MAX_LIMIT {
        let detail = format!("limit: at least 1 and at most {MAX_LIMIT}");
        return Err(Problem::invalid(detail));
    }
    let is_wanted = |of: Summary| {
        reason.is_none_or(|wanted| wanted == of.reason)
            && stage.is_none_or(|wanted| wanted == of.stage)
            && (query.discarded || of.handled != Some(Handled::Discarded))
    };
    let mut found = Vec::new();
    newest_first(&part.lists, |DeadLetterEntry { element, .. }| {
        if Summary::of(&element).is_some_and(is_wanted)
            && let Ok(letter) = DeadLetter::decode(&element)
        {
            found.push(letter.into());
        }
        found.len() < limit
    })
    .await?;
    Ok(Json(DeadLetterList {
        dead_letters: found,
    }))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    given: Option<&str>,
) -> Result<Option<T>, Problem> {
    let parsed = given.map(str::parse).transpose();
    parsed.map_err(|error| Problem::invalid(format!("{name}: {error}")))
}

/// Counts dead letters by stage and reason.
#[utoipa::path(
    get,
    operation_id = "countDeadLetters",
    path = "/pipelines/{pipeline}/dead-letters/counts",
    tag = "dead letters",
    params(PipelineName),
    responses(
        (status = 200, body = DeadLetterCounts),
        ListProblems,
    ),
)]
pub(crate) async fn counts(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
) -> Result<Json<DeadLetterCounts>, Problem> {
    Ok(Json(
        count(&api.pipeline(&name)?.lists)
            .await
            .map_err(lists_failed)?,
    ))
}

/// Numbers of dead letters. This reads all of them.
pub(crate) async fn count(queue: &impl DeadLetters) -> Result<DeadLetterCounts, QueueError> {
    let kinds = queue.dead_letter_kinds().await?;
    let mut counts = Vec::new();
    let mut foreign = 0;
    for (kind, count) in kinds.0 {
        match kind {
            Some(Summary {
                stage,
                reason,
                handled,
            }) => counts.push(DeadLetterCount {
                stage: stage.name(),
                reason: reason.as_str(),
                replayed: handled == Some(Handled::Replayed),
                discarded: handled == Some(Handled::Discarded),
                count,
            }),
            None => foreign += count,
        }
    }
    counts.sort_by_key(|it| (it.stage, it.reason, it.replayed, it.discarded));
    Ok(DeadLetterCounts { counts, foreign })
}

/// Shows one dead letter.
#[utoipa::path(
    get,
    operation_id = "getDeadLetter",
    path = "/pipelines/{pipeline}/dead-letters/{id}",
    tag = "dead letters",
    params(
        PipelineName,
        ("id" = String, Path, description = "The id of the dead letter"),
    ),
    responses(
        (status = 200, body = DeadLetterInfo),
        ListProblems,
    ),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Json<DeadLetterInfo>, Problem> {
    let Path((name, id)) = path.map_err(|error| Problem::not_found(error.body_text()))?;
    let part = api.pipeline(&name)?;
    let mut found = None;
    newest_first(&part.lists, |DeadLetterEntry { element, .. }| {
        if id_of(&element).is_some_and(|of| *of == *id) {
            found = DeadLetter::decode(&element).ok();
        }
        found.is_none()
    })
    .await?;
    let unknown = || Problem::not_found(format!("there is no dead letter {id:?}"));
    found.map(|letter| Json(letter.into())).ok_or_else(unknown)
}
