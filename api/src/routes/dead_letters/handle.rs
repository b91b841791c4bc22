//! Replays and discards dead letters.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use model::dead_letter::{DeadLetter, id_of};
use queue::{DeadLetterEntry, DeadLetters, Replayed};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::newest_first;
use crate::extract::{Body, PipelineName};
use crate::parts::{Api, ServedPipeline};
use crate::problem::{ChangeProblems, Problem, lists_failed};

/// Most dead letters of a request.
const MAX_IDS: usize = 1_000;

/// Which dead letters to replay or discard.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterIds {
    /// Their ids.
    #[schema(min_items = 1, max_items = 1000, example = json!(["1873ca5d1ad4f4c0-9e3779b9"]))]
    ids: Vec<String>,
}

/// What was done.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct DeadLettersHandled {
    /// The ids of the dead letters that were replayed or discarded.
    done: Vec<String>,
    /// The others.
    refused: Vec<DeadLetterRefused>,
}

/// A dead letter that was neither replayed nor discarded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterRefused {
    /// Its id.
    id: String,
    /// Why.
    detail: String,
}

/// Validates dead letters again and appends those that pass to their list. A replayed dead letter is marked, and
/// not replayed again.
#[utoipa::path(
    post,
    operation_id = "replayDeadLetters",
    path = "/pipelines/{pipeline}/dead-letters/replay",
    tag = "dead letters",
    params(PipelineName),
    request_body = DeadLetterIds,
    responses(
        (status = 200, body = DeadLettersHandled),
        ChangeProblems,
    ),
)]
pub(crate) async fn replay(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
    Body(request): Body<DeadLetterIds>,
) -> Result<Json<DeadLettersHandled>, Problem> {
    let part = api.pipeline(&name)?;
    let mut handled = DeadLettersHandled::default();
    for (letter, content) in select(part, request, &mut handled).await? {
        let now = api.clock().now();
        let replayed = match part.stages.validate(letter, &content, now) {
            Ok(replay) => match part.lists.replay(&replay).await.map_err(lists_failed)? {
                Replayed::Done => Ok(()),
                Replayed::Gone => Err(changed()),
                Replayed::Full { length } => Err(format!(
                    "its list is full ({length} elements): try again later"
                )),
            },
            Err(why) => Err(why),
        };
        handled.add(content.id, replayed);
    }
    Ok(Json(handled))
}

/// Deletes the payloads of dead letters and marks them as discarded; what is left of them stays in the list until it
/// is trimmed.
#[utoipa::path(
    post,
    operation_id = "discardDeadLetters",
    path = "/pipelines/{pipeline}/dead-letters/discard",
    tag = "dead letters",
    params(PipelineName),
    request_body = DeadLetterIds,
    responses(
        (status = 200, body = DeadLettersHandled),
        ChangeProblems,
    ),
)]
pub(crate) async fn discard(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
    Body(request): Body<DeadLetterIds>,
) -> Result<Json<DeadLettersHandled>, Problem> {
    let part = api.pipeline(&name)?;
    let mut handled = DeadLettersHandled::default();
    for (letter, content) in select(part, request, &mut handled).await? {
        let discarded = if let Some(before) = content.handled() {
            Err(format!("was {} before", before.as_str()))
        } else {
            let left = content.discarded(api.clock().now());
            let discarded = part
                .lists
                .discard(&letter, &left)
                .await
                .map_err(lists_failed)?;
            discarded.then_some(()).ok_or_else(changed)
        };
        handled.add(content.id, discarded);
    }
    Ok(Json(handled))
}

impl DeadLettersHandled {
    fn add(&mut self, id: String, result: Result<(), String>) {
        match result {
            Ok(()) => self.done.push(id),
            Err(detail) => self.refused.push(DeadLetterRefused { id, detail }),
        }
    }
}

fn changed() -> String {
    "is gone, or was replayed or discarded meanwhile".to_owned()
}

/// The dead letters of these ids, the oldest first; those that can't be found are refused.
async fn select(
    part: &ServedPipeline,
    request: DeadLetterIds,
    handled: &mut DeadLettersHandled,
) -> Result<Vec<(DeadLetterEntry, DeadLetter)>, Problem> {
    if request.ids.is_empty() || request.ids.len() > MAX_IDS {
        let detail = format!("ids: at least 1 and at most {MAX_IDS}");
        return Err(Problem::invalid(detail));
    }
    let mut wanted: HashSet<String> = request.ids.into_iter().collect();
    let mut found = Vec::new();
    newest_first(&part.lists, |letter| {
        if id_of(&letter.element).is_some_and(|id| wanted.remove(&*id))
            && let Ok(content) = DeadLetter::decode(&letter.element)
        {
            found.push((letter, content));
        }
        !wanted.is_empty()
    })
    .await?;
    found.reverse();
    for id in wanted {
        handled.add(id, Err("there is no such dead letter".to_owned()));
    }
    Ok(found)
}
