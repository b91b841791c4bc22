//! Maps the server's responses to write errors.
//!
//! Recorded from InfluxDB 2.9.1: after 400 nothing of the request is stored, after 422 a part of it,
//! after 500 nothing or a part. InfluxDB itself sends no 413, 429, 503 or Retry-After; proxies and
//! InfluxDB Cloud do.

use std::error::Error;
use std::time::Duration;

use common::secret::Secret;
use influxdb2::RequestError;
use reqwest::StatusCode;
use serde_json::Value;

use crate::WriteError;

/// Limit of a server's message in an error, in bytes. The server may echo a whole request.
const MAX_MESSAGE: usize = 2048;

/// The server and bucket of a store, for error messages.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) org: String,
    pub(super) bucket: String,
    pub(super) token: Option<Secret>,
    pub(super) timeout: Duration,
}

impl Target {
    /// The error of a write. `empty` says that the body had no lines.
    pub(super) fn write_error(&self, error: RequestError, empty: bool) -> WriteError {
        let detail = match error {
            RequestError::Http { status, text } => return self.refusal(status, &text, empty),
            RequestError::ReqwestProcessing { source } if source.is_timeout() => {
                format!("{} didn't respond within {:?}", self.url, self.timeout)
            }
            RequestError::ReqwestProcessing { source } => {
                format!("{}: {}", self.url, chain(&source.without_url()))
            }
            other => format!("{}: {other}", self.url),
        };
        retry(detail)
    }

    fn refusal(&self, status: StatusCode, text: &str, empty: bool) -> WriteError {
        let mut detail = format!("{} answered {status}", self.url);
        let message = server_message(text, &self.token);
        if !message.is_empty() {
            detail = format!("{detail}: {message}");
        }
        match (status.as_u16(), empty) {
            (413, false) => WriteError::TooLarge { detail },
            (400 | 422, false) => WriteError::Rejected { detail },
            (code @ (400 | 401 | 403 | 404 | 413 | 422), _) => WriteError::Denied {
                detail: format!("{}; {detail}", self.remedy(code)),
            },
            (200..300, _) => retry(format!("{detail}; only 204 means that rows were stored")),
            (300..400, _) => retry(format!(
                "{detail}; redirects aren't followed, set INFLUX_URL to the server itself"
            )),
            _ => retry(detail),
        }
    }

    fn remedy(&self, code: u16) -> String {
        let Self { org, bucket, .. } = self;
        match code {
            401 if self.token.is_none() => {
                format!("set INFLUX_TOKEN to a token that may write to bucket {bucket:?}")
            }
            401 => format!("check INFLUX_TOKEN: it has to be a token of organisation {org:?}"),
            403 => format!("check INFLUX_TOKEN: it must be active and may write to {bucket:?}"),
            404 => format!(
                "check INFLUX_BUCKET ({bucket:?}) and INFLUX_ORG ({org:?}): they have to exist"
            ),
            _ => "check INFLUX_ORG, INFLUX_BUCKET and INFLUX_URL: an empty write was refused"
                .to_owned(),
        }
    }
}

/// The message in InfluxDB's error, or the whole body if it isn't one. Truncated, and without the
/// secrets: some proxies echo a request's headers when they refuse it.
pub(super) fn server_message<'a>(
    body: &str,
    secrets: impl IntoIterator<Item = &'a Secret>,
) -> String {
    let message = match serde_json::from_str(body) {
        Ok(Value::Object(mut error)) => match error.remove("message") {
            Some(Value::String(message)) => Some(message),
            _ => None,
        },
        _ => None,
    };
    let mut message = message.unwrap_or_else(|| body.trim().to_owned());
    let exposed = secrets.into_iter().map(Secret::expose);
    for secret in exposed.filter(|secret| !secret.is_empty()) {
        message = message.replace(secret, "***");
    }
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    message
}

/// `after` is unknown: the client doesn't return headers.
fn retry(detail: String) -> WriteError {
    WriteError::Retry {
        detail,
        after: None,
    }
}

/// An error's message with the messages of its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_message = cause.to_string();
        // Some layers repeat the message of the one below.
        if !message.ends_with(&cause_message) {
            message = format!("{message}: {cause_message}");
        }
        source = cause.source();
    }
    message
}
