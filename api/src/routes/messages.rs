//! Takes messages of devices over HTTP.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::extract::{PipelineName, Query};
use crate::parts::Api;
use crate::problem::{ItemProblem, MessageProblems, Problem};

/// How long a message may take to be stored.
const LIMIT: Duration = Duration::from_secs(10);
/// Most messages of a request.
const MAX_MESSAGES: usize = 1_000;

/// Where the messages come from.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MessagesQuery {
    /// The topic or channel, as if they were published there.
    #[param(min_length = 1, example = "rigs/RIG-01/measurements/pressure")]
    topic: String,
}

/// Takes a message, or with `application/x-ndjson` one in each line. The response comes when all are durable: appended
/// to the pipeline's list, or dead letters. With status 422, some are dead letters, and `errors` says which and why.
/// After 503, messages may be stored later, so the same ones may be sent again.
#[utoipa::path(
    post,
    operation_id = "postMessages",
    path = "/pipelines/{pipeline}/messages",
    tag = "messages",
    params(PipelineName, MessagesQuery),
    request_body(
        description = "The payload of the message, or one in each line",
        content(
            (serde_json::Value = "application/json", example = json!({"value": 2.5})),
            (String = "application/x-ndjson"),
            (String = "text/plain"),
        ),
    ),
    responses(
        (status = 204, description = "All messages are appended"),
        MessageProblems,
    ),
)]
pub(crate) async fn post(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
    Query(query): Query<MessagesQuery>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<StatusCode, Problem> {
    let part = api.pipeline(&name)?;
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let inbox = part.inbox.as_ref().ok_or_else(no_ingester)?;
    let messages = split(&headers, &body);
    if messages.is_empty() || messages.len() > MAX_MESSAGES {
        let detail = format!("the body: at least 1 and at most {MAX_MESSAGES} messages");
        return Err(Problem::invalid(detail));
    }
    let count = messages.len();
    let now = api.clock().now();
    let mut errors = Vec::new();
    let mut posts = Vec::new();
    for (place, message) in messages.into_iter().enumerate() {
        if let Some(rejection) = part.stages.check(&query.topic, &message, now) {
            errors.push(ItemProblem {
                line: place + 1,
                reason: rejection.reason.as_str(),
                detail: rejection.detail,
                places: rejection.places,
            });
        }
        let (inbox, topic) = (inbox.clone(), query.topic.clone());
        posts.push(tokio::spawn(async move {
            inbox.post(topic, message, LIMIT).await
        }));
    }
    for post in posts {
        let posted = post
            .await
            .map_err(|error| Problem::unavailable(error.to_string()))?;
        posted.map_err(|error| Problem::unavailable(error.to_string()))?;
    }
    if errors.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let detail = format!(
        "{} of {count} messages can't be used and are dead letters; the others are taken",
        errors.len()
    );
    Err(Problem::invalid(detail).with_errors(errors))
}

/// Messages don't pass through this process.
pub(super) fn no_ingester() -> Problem {
    Problem::not_found(
        "this process has no ingester: its messages are those of the broker, over MQTT",
    )
}

/// The messages of a body.
fn split(headers: &HeaderMap, body: &Bytes) -> Vec<Bytes> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-ndjson") {
        return vec![body.clone()];
    }
    let lines = body.split(|byte| *byte == b'\n');
    let lines = lines.map(<[u8]>::trim_ascii);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| body.slice_ref(line))
        .collect()
}
