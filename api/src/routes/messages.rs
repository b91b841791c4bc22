//! Takes messages of devices over HTTP.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use transport::store_messages;
use utoipa::IntoParams;

use crate::extract::{PipelineName, Query};
use crate::parts::Api;
use crate::problem::{MessageProblems, Problem};

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
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let now = api.clock().now();
    let check = |message: &[u8]| part.stages.check(&query.topic, message, now);
    store_messages(inbox, &query.topic, kind, &body, check).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Messages don't pass through this process.
pub(super) fn no_ingester() -> Problem {
    Problem::not_found(
        "this process has no ingester: its messages are those of the broker, over MQTT",
    )
}
