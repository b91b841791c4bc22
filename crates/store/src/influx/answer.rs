//! What the server's answers mean for the one who writes.
//!
//! Recorded from a server 2.9.1: 400 means that nothing of the request was stored, 422 that some
//! of it wasn't, 500 either. That server itself sends no 413, 429, 503 or Retry-After; proxies in
//! front of it and InfluxDB's cloud do.

use std::error::Error;
use std::time::Duration;

use common::secret::Secret;
use influxdb2::RequestError;
use reqwest::StatusCode;
use serde_json::Value;

use crate::WriteError;

/// How much of the server's words is kept, in bytes: it may echo a whole request.
const KEPT_WORDS: usize = 2048;

/// What was asked of whom, for the words of errors.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) url: String,
    pub(super) org: String,
    pub(super) bucket: String,
    pub(super) token: Option<Secret>,
    pub(super) timeout: Duration,
}

impl Asked {
    /// The error of a write, which had an `empty` body or lines in it.
    pub(super) fn write_error(&self, error: RequestError, empty: bool) -> WriteError {
        let detail = match error {
            RequestError::Http { status, text } => return self.refusal(status, &text, empty),
            RequestError::ReqwestProcessing { source } if source.is_timeout() => {
                format!("{} gave no answer within {:?}", self.url, self.timeout)
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
        let words = words(text, &self.token);
        if !words.is_empty() {
            detail = format!("{detail}: {words}");
        }
        match (status.as_u16(), empty) {
            (413, false) => WriteError::TooLarge { detail },
            (400 | 422, false) => WriteError::Rejected { detail },
            (code @ (400 | 401 | 403 | 404 | 413 | 422), _) => WriteError::Denied {
                detail: format!("{}; {detail}", self.remedy(code)),
            },
            (200..300, _) => retry(format!("{detail}; only 204 means that rows were stored")),
            (300..400, _) => retry(format!(
                "{detail}; a redirect isn't followed, set INFLUX_URL to the server itself"
            )),
            _ => retry(detail),
        }
    }

    fn remedy(&self, code: u16) -> String {
        let Self { org, bucket, .. } = self;
        match code {
            401 if self.token.is_none() => {
                format!("set INFLUX_TOKEN: a token that may write to bucket {bucket:?}")
            }
            401 => format!("check INFLUX_TOKEN: it has to be a token of organisation {org:?}"),
            403 => format!("check INFLUX_TOKEN: it must be active and may write to {bucket:?}"),
            404 => format!(
                "check INFLUX_BUCKET ({bucket:?}) and INFLUX_ORG ({org:?}): they have to exist"
            ),
            _ => "check INFLUX_ORG, INFLUX_BUCKET and INFLUX_URL: not even an empty write is taken"
                .to_owned(),
        }
    }
}

/// The message of an InfluxDB's error, or whatever was answered, cut, and without the secrets: some
/// proxies show a request's headers when they refuse it.
pub(super) fn words<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let message = match serde_json::from_str(text) {
        Ok(Value::Object(mut answer)) => match answer.remove("message") {
            Some(Value::String(message)) => Some(message),
            _ => None,
        },
        _ => None,
    };
    let mut words = message.unwrap_or_else(|| text.trim().to_owned());
    let exposed = secrets.into_iter().map(Secret::expose);
    for secret in exposed.filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, "***");
    }
    words.truncate(words.floor_char_boundary(KEPT_WORDS));
    words
}

/// `after` stays unknown: the client doesn't hand out headers.
fn retry(detail: String) -> WriteError {
    WriteError::Retry {
        detail,
        after: None,
    }
}

/// An error with what caused it.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        // Some layers repeat the words of the one below.
        if !words.ends_with(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}
