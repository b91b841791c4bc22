//! Maps the server's responses to write errors.
//!
//! Recorded from InfluxDB 2.9.1: after 400 nothing of the request is stored, after 422 a part of it,
//! after 500 nothing or a part. InfluxDB itself sends no 413, 429, 503 or Retry-After; proxies and
//! InfluxDB Cloud do.

use std::error::Error;
use std::time::Duration;

use common::secret::Secret;
use common::settings::BadSetting;
use reqwest::StatusCode;
use serde_json::Value;

use super::InfluxSettings;
use super::settings::checked_url;
use crate::{RowsAtFault, WriteError};

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
    /// The server and bucket of these settings.
    pub(super) fn new(settings: &InfluxSettings) -> Result<Self, BadSetting> {
        let url = checked_url(&settings.url)?;
        Ok(Self {
            url: url.as_str().trim_end_matches('/').to_owned(),
            org: settings.org.clone(),
            bucket: settings.bucket.clone(),
            token: settings.token.clone(),
            timeout: settings.timeout,
        })
    }

    /// The server's message without the token, in the past and the present one.
    pub(super) fn message(&self, body: &str) -> String {
        let current = self.token.as_ref().map(Secret::current);
        server_message(body, self.token.iter().chain(&current))
    }

    /// The message of a time limit that is over.
    pub(super) fn silent(&self) -> String {
        format!("{} didn't respond within {:?}", self.url, self.timeout)
    }

    /// The error of a response with this status.
    pub(super) fn refusal(&self, status: StatusCode, text: &str, rows: usize) -> WriteError {
        let mut detail = format!("{} answered {status}", self.url);
        let message = self.message(text);
        if !message.is_empty() {
            detail = format!("{detail}: {message}");
        }
        match (status.as_u16(), rows) {
            (413, 1..) => WriteError::TooLarge { detail },
            (400 | 422, 1..) => WriteError::Rejected {
                detail,
                at_fault: rows_at_fault(&message, rows),
            },
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

/// Which rows the message of a rejected write of `rows` rows is about. Messages that aren't known may
/// be of a proxy, or of a fault of the server.
fn rows_at_fault(message: &str, rows: usize) -> RowsAtFault {
    if message.starts_with("unable to parse '") {
        return RowsAtFault::Some;
    }
    let Some((_, cause)) = message.split_once("partial write: ") else {
        return RowsAtFault::Unknown;
    };
    if let Some(outside) = cause.strip_prefix("dropped ") {
        let Some((dropped, "points outside retention policy")) = outside
            .split_once(" of duration ")
            .and_then(|(words, _)| words.split_once(' '))
        else {
            return RowsAtFault::Unknown;
        };
        return if dropped.parse() == Ok(rows) {
            RowsAtFault::All
        } else {
            RowsAtFault::Some
        };
    }
    let certain = [
        "field type conflict: ",
        "points beyond retention policy",
        // A string that is too long for the server.
        "input field ",
    ];
    if certain.iter().any(|words| cause.starts_with(words)) {
        RowsAtFault::Some
    } else {
        RowsAtFault::Unknown
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

#[cfg(test)]
mod tests {
    use super::rows_at_fault;
    use crate::RowsAtFault::{self, All, Some, Unknown};

    #[test]
    fn rows_are_at_fault_only_if_the_message_is_known() {
        let outside = "failure writing points to database: partial write: dropped 3 points outside \
                       retention policy of duration 1h0m0s - oldest point rt,k=b at … dropped=3 for …";
        let conflict = "failure writing points to database: partial write: field type conflict: input \
                        field \"v\" on measurement \"tc\" is type string, already exists as type \
                        float dropped=1";
        let engine = "unexpected error writing points to database: engine: cache-max-memory-size \
                      exceeded: (1137340/1048576)";
        let long = "failure writing points to database: partial write: input field \"f\" on measurement \
                    \"m\" is too long, 1048577 > 1048576 dropped=1";
        let table: [(&str, usize, RowsAtFault); 11] = [
            ("unable to parse 'm v=': missing field value", 5, Some),
            (outside, 3, All),
            (outside, 4, Some),
            (conflict, 1, Some),
            (long, 1, Some),
            (
                "partial write: points beyond retention policy dropped=4",
                4,
                Some,
            ),
            ("partial write: dropped some", 1, Unknown),
            ("partial write: … dropped=1", 1, Unknown),
            (engine, 1, Unknown),
            ("a proxy: field type conflict", 1, Unknown),
            ("", 1, Unknown),
        ];
        for (message, rows, expected) in table {
            assert_eq!(rows_at_fault(message, rows), expected, "{message}");
        }
    }
}
