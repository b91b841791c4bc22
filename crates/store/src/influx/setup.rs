//! Setting an `InfluxDB` 2 up: its first user, tokens, a bucket and a dashboard, through its
//! HTTP API. Requests and responses are those of InfluxDB 2.9.1.

use std::sync::Arc;
use std::time::Duration;

use common::secret::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use super::answer::Target;
use super::clients::Clients;
use super::{BuildError, InfluxSettings};

mod api;
mod dashboard;
mod operator;
mod probe;
#[cfg(test)]
mod tests;

use api::{ApiClient, ApiRequest, ApiResponse};
pub use operator::{Authorization, Id, Operator};
pub use probe::{Kept, ServerSeen, WriteAccess};

/// Why a step failed, named by what to do next. Messages are for operators and contain no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Try again later: the server is unavailable. It may have carried out the request.
    #[error("{detail}")]
    Away {
        /// What happened.
        detail: String,
    },
    /// The server doesn't know the token, or the token may not do this.
    #[error("{detail}")]
    Unauthorized {
        /// The server's message.
        detail: String,
    },
    /// The server refused the request.
    #[error("status {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's message.
        message: String,
    },
    /// A response that `InfluxDB` 2 doesn't give.
    #[error("{detail}")]
    Unexpected {
        /// The response.
        detail: String,
    },
}

impl SetupError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// What a token may do with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Write only.
    Write,
    /// Read only.
    Read,
}

impl Access {
    fn action(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// The first user, organisation and bucket of a server.
#[derive(Debug, Clone, Copy)]
pub struct FirstSetup<'a> {
    /// The first user.
    pub user: &'a str,
    /// The user's password.
    pub password: &'a Secret,
    /// The operator token, which has all permissions.
    pub token: &'a Secret,
    /// The first organisation.
    pub org: &'a str,
    /// The first bucket.
    pub bucket: &'a str,
    /// The bucket's retention period.
    pub kept_for: Duration,
}

/// A client that sets up a server. Clones share its connections.
#[derive(Debug, Clone)]
pub struct InfluxSetup {
    client: ApiClient,
}

impl InfluxSetup {
    /// Creates the client. Connects at the first request.
    pub fn new(settings: &InfluxSettings) -> Result<Self, BuildError> {
        let target = Target::new(settings)?;
        Ok(Self {
            client: ApiClient {
                clients: Arc::new(Clients::new(settings)?),
                url: target.url,
                timeout: settings.timeout,
            },
        })
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.client.url
    }

    /// Checks that the server takes queries and writes; [`SetupError::Away`] if it doesn't yet.
    pub async fn health(&self) -> Result<(), SetupError> {
        let response = self.client.send(ApiRequest::get("/health")).await?;
        let health = response.expect(&[200])?.json()?;
        if health["status"] == "pass" {
            return Ok(());
        }
        Err(SetupError::Away {
            detail: format!("its health is {}", health["status"]),
        })
    }

    /// Whether the server has no users and no organisations, so that [`set_up`](Self::set_up) works.
    pub async fn is_untouched(&self) -> Result<bool, SetupError> {
        let response = self.client.send(ApiRequest::get("/api/v2/setup")).await?;
        let response = response.expect(&[200])?;
        let allowed = response.json()?["allowed"].as_bool();
        allowed.ok_or_else(|| response.unexpected("no \"allowed\""))
    }

    /// Creates user, organisation, bucket and token. [`SetupError::Refused`] with 422 if the server is
    /// already set up. Not a transaction: a server that is killed meanwhile may have a user without a
    /// token.
    pub async fn set_up(&self, first: &FirstSetup<'_>) -> Result<(), SetupError> {
        let body = json!({
            "username": first.user,
            "password": first.password.expose(),
            "token": first.token.expose(),
            "org": first.org,
            "bucket": first.bucket,
            "retentionPeriodSeconds": first.kept_for.as_secs(),
        });
        let request = ApiRequest::new(Method::POST, "/api/v2/setup")
            .json(&body)
            .redacting([first.password, first.token]);
        self.client.send(request).await?.expect(&[201]).map(drop)
    }

    /// Whether the token may write to the bucket. Writes nothing.
    pub async fn may_write(
        &self,
        token: &Secret,
        org: &str,
        bucket: &str,
    ) -> Result<bool, SetupError> {
        let request = ApiRequest::new(Method::POST, "/api/v2/write")
            .with_token(token)
            .query([("org", org), ("bucket", bucket)])
            .body("text/plain; charset=utf-8", Vec::new());
        self.send_authorized(request, 204)
            .await
            .map(|response| response.is_some())
    }

    /// Whether the token may read from the bucket.
    pub async fn may_read(
        &self,
        token: &Secret,
        org: &str,
        bucket: &str,
    ) -> Result<bool, SetupError> {
        let bucket = dashboard::flux_string(bucket);
        let query = format!("from(bucket: {bucket}) |> range(start: -1s) |> limit(n: 1)");
        let request = ApiRequest::new(Method::POST, "/api/v2/query")
            .with_token(token)
            .query([("org", org)])
            .accept("application/csv")
            .body("application/vnd.flux", query.into_bytes());
        let Some(response) = self.send_authorized(request, 200).await? else {
            return Ok(false);
        };
        // A query that fails late returns status 200, with its error in a table.
        let is_error = |line: &str| line.trim_start_matches(',').starts_with("error,");
        if response.text().lines().any(is_error) {
            return Err(response.unexpected("a failed query"));
        }
        Ok(true)
    }

    /// The requests that need the operator token.
    #[must_use]
    pub fn operator(&self, token: &Secret) -> Operator {
        Operator::new(self.client.clone(), token.clone())
    }

    /// Sends the request. Returns `None` if the token is unknown or lacks permission. The server answers
    /// 404 for an object that the token may not read.
    async fn send_authorized(
        &self,
        request: ApiRequest,
        success: u16,
    ) -> Result<Option<ApiResponse>, SetupError> {
        let response = self.client.send(request).await?;
        match response.status {
            401 | 403 | 404 => Ok(None),
            _ => response.expect(&[success]).map(Some),
        }
    }
}

/// The string at a JSON pointer.
fn string_at<'a>(value: &'a Value, place: &str) -> Option<&'a str> {
    value.pointer(place).and_then(Value::as_str)
}
