//! The messages that a pipeline's ingester receives, as they come.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use transport::{Captured, MessageWatch, Seen};
use utoipa::ToSchema;

use super::messages::no_ingester;
use crate::extract::PipelineName;
use crate::live::{UNBUFFERED, while_read};
use crate::parts::Api;
use crate::problem::{ListProblems, Problem};

/// Lines that wait for a slow client, besides the messages that wait for this task.
const WAITING: usize = 16;

/// A line: a message, or how many were left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum WatchLine {
    /// A message.
    Message(WatchedMessage),
    /// The client was too slow for some messages.
    Missed {
        /// How many.
        missed: u64,
    },
}

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchedMessage {
    /// When it was shown, by the server's clock.
    pub time: String,
    /// The topic or channel.
    #[schema(example = "rigs/RIG-01/measurements/pressure")]
    pub topic: String,
    /// Whether the broker had retained it from before the subscription.
    pub retained: bool,
    /// Its payload, at most the first 64 KiB.
    pub payload: String,
    /// base64, if the payload isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
}

/// Streams the messages that the pipeline's ingester receives from now on, whether they can be used or not, without
/// end: a JSON object in each line. A client that is too slow misses messages, and gets their number.
#[utoipa::path(
    get,
    operation_id = "watchMessages",
    path = "/pipelines/{pipeline}/messages",
    tag = "messages",
    params(PipelineName),
    responses(
        (status = 200, description = "Lines without end", body = WatchLine, content_type = "application/x-ndjson"),
        ListProblems,
    ),
)]
pub(crate) async fn open(
    State(api): State<Api>,
    PipelineName(name): PipelineName,
) -> Result<Response, Problem> {
    let part = api.pipeline(&name)?;
    let inbox = part.inbox.as_ref().ok_or_else(no_ingester)?;
    let permit = api.live().permit()?;
    let stop = api.live().stopped();
    let (watch, clock) = (inbox.watch(), api.clock());
    let (send, receive) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let _permit = permit;
        let now = || clock.now().to_string();
        while_read(&stop, &send, forward(watch, now, &send)).await;
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let body = Body::from_stream(ReceiverStream::new(receive));
    Ok((kind, UNBUFFERED, body).into_response())
}

async fn forward(
    mut from: MessageWatch,
    now: impl Fn() -> String,
    to: &mpsc::Sender<Result<Bytes, serde_json::Error>>,
) {
    while let Some(seen) = from.next().await {
        let line = match seen {
            Seen::Message(message) => WatchLine::Message(WatchedMessage::new(now(), message)),
            Seen::Missed(missed) => WatchLine::Missed { missed },
        };
        let line = serde_json::to_vec(&line).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        if to.send(line).await.is_err() {
            return;
        }
    }
}

impl WatchedMessage {
    /// A message that was seen at `time`.
    #[must_use]
    pub fn new(time: String, message: Captured) -> Self {
        let (payload, encoding) = match String::from_utf8(message.payload.into()) {
            Ok(text) => (text, None),
            Err(error) => (
                BASE64_STANDARD.encode(error.as_bytes()),
                Some("base64".to_owned()),
            ),
        };
        Self {
            time,
            topic: message.topic,
            retained: message.is_retained,
            payload,
            encoding,
        }
    }
}
