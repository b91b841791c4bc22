//! Writes to `https://`, and to `http://` in programs that are built without the `influxdb2` client.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::answer::Target;
use super::clients::{Clients, Current};
use crate::WriteError;

/// Limit of an error's body, in bytes.
const MAX_ERROR: usize = 64 << 10;
/// The longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_mins(5);

/// Sends the lines of `rows` rows.
pub(super) async fn send(
    clients: &Clients,
    current: &Current,
    target: &Target,
    lines: Vec<u8>,
    rows: usize,
) -> Result<(), WriteError> {
    let place = [
        ("org", target.org.as_str()),
        ("bucket", target.bucket.as_str()),
        ("precision", "ns"),
    ];
    let mut request = current
        .http
        .post(format!("{}/api/v2/write", current.url))
        .query(&place)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(lines);
    if let Some(token) = &current.token {
        request = request.header(AUTHORIZATION, format!("Token {}", token.expose()));
    }
    let mut response = request.send().await.map_err(|error| {
        let detail = if error.is_timeout() {
            target.silent()
        } else {
            format!("{}: {}", target.url, clients.failure(error))
        };
        WriteError::Retry {
            detail,
            after: None,
        }
    })?;
    let status = response.status();
    if status == StatusCode::NO_CONTENT {
        return Ok(());
    }
    let wait = retry_after(&response);
    let body = error_body(&mut response).await;
    Err(match target.refusal(status, &body, rows) {
        WriteError::Retry { detail, .. } => WriteError::Retry {
            detail,
            after: wait,
        },
        other => other,
    })
}

/// The wait in the header `Retry-After`, in seconds; dates aren't read.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// The beginning of an error's body, as far as it comes within the time limit of the request.
async fn error_body(response: &mut Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await
        && body.len() < MAX_ERROR
    {
        body.extend_from_slice(&piece);
    }
    String::from_utf8_lossy(&body).into_owned()
}
