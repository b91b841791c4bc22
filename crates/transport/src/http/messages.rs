//! The messages of a request.

use std::time::Duration;

use bytes::Bytes;
use http_server::{ItemProblem, Problem};
use model::dead_letter::Rejection;
use tokio::time::Instant;

use crate::posted::{Inbox, NotStored};

/// How long a message may take to be stored.
const LIMIT: Duration = Duration::from_secs(10);
/// Most messages of a request.
const MAX_MESSAGES: usize = 1_000;

/// Stores the messages of a request's body: one, or with the content type `application/x-ndjson` one in each line.
/// Returns when all are durable: appended, or dead letters. `check` says which become dead letters, and the problem
/// names those; the others are stored.
pub async fn store_messages(
    inbox: &Inbox,
    topic: &str,
    content_type: Option<&str>,
    body: &Bytes,
    check: impl Fn(&[u8]) -> Option<Rejection>,
) -> Result<(), Problem> {
    let messages = split(content_type, body);
    if messages.is_empty() || messages.len() > MAX_MESSAGES {
        let detail = format!("the body: at least 1 and at most {MAX_MESSAGES} messages");
        return Err(Problem::invalid(detail));
    }
    let count = messages.len();
    let deadline = Instant::now() + LIMIT;
    let unavailable = |error: NotStored| Problem::unavailable(error.to_string());
    let mut errors = Vec::new();
    let mut pending = Vec::with_capacity(count);
    for (place, message) in messages.into_iter().enumerate() {
        if let Some(rejection) = check(&message) {
            errors.push(ItemProblem {
                line: place + 1,
                reason: rejection.reason.as_str(),
                detail: rejection.detail,
                places: rejection.places,
            });
        }
        let offered = inbox.offer(topic.to_owned(), message, deadline).await;
        pending.push(offered.map_err(unavailable)?);
    }
    for message in pending {
        message.stored().await.map_err(unavailable)?;
    }
    if errors.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "{} of {count} messages can't be used and are dead letters; the others are taken",
        errors.len()
    );
    Err(Problem::invalid(detail).with_errors(errors))
}

/// The messages of a body.
fn split(content_type: Option<&str>, body: &Bytes) -> Vec<Bytes> {
    let kind = content_type.unwrap_or_default().split(';').next();
    let kind = kind.unwrap_or_default().trim();
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
