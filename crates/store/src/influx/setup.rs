//! Setting an `InfluxDB` 2 up: its first user, tokens, a bucket and a dashboard, over the parts of its
//! API that are for that. Requests and answers are those of a server 2.9.1.

use std::time::Duration;

use common::secret::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use super::settings::checked_url;
use super::{BuildError, InfluxSettings, http_builder};

mod call;
mod dashboard;
mod operator;
#[cfg(test)]
mod tests;

use call::{Answer, Ask, Caller};
pub use operator::{Authorization, Id, Operator};

/// Why a step wasn't done, named by what to do next. The words are for people and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Ask again later: the server is away, starting or ill. It may have done what it was asked for.
    #[error("{detail}")]
    Away {
        /// What happened.
        detail: String,
    },
    /// The server doesn't know the token, or the token may not do this.
    #[error("{detail}")]
    Unauthorized {
        /// What the server said.
        detail: String,
    },
    /// The server understood, and won't.
    #[error("it answered {status}: {message}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// Its words.
        message: String,
    },
    /// Not an answer that an `InfluxDB` 2 gives.
    #[error("{detail}")]
    Unexpected {
        /// What was answered.
        detail: String,
    },
}

impl SetupError {
    /// Whether the same may go well later.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// What a token may do with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Write and nothing else.
    Write,
    /// Read and nothing else.
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

/// What a server without users is given.
#[derive(Debug, Clone, Copy)]
pub struct FirstSetup<'a> {
    /// The first user.
    pub user: &'a str,
    /// That user's password.
    pub password: &'a Secret,
    /// The operator token, which may do everything.
    pub token: &'a Secret,
    /// The first organisation.
    pub org: &'a str,
    /// Its first bucket.
    pub bucket: &'a str,
    /// How long the bucket keeps rows.
    pub kept_for: Duration,
}

/// A server that is to be set up. Clones share its connections.
#[derive(Debug, Clone)]
pub struct InfluxSetup {
    caller: Caller,
}

impl InfluxSetup {
    /// Makes a client; opens no connection yet.
    pub fn new(settings: &InfluxSettings) -> Result<Self, BuildError> {
        let url = checked_url(&settings.url)?;
        let http = http_builder(settings.timeout)
            .build()
            .map_err(|error| BuildError::Client(error.to_string()))?;
        let url = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            caller: Caller {
                http,
                url,
                timeout: settings.timeout,
            },
        })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.caller.url
    }

    /// Whether it takes queries and writes; [`SetupError::Away`] if not yet.
    pub async fn health(&self) -> Result<(), SetupError> {
        let answer = self.caller.call(Ask::get("/health")).await?;
        let health = answer.expect(&[200])?.json()?;
        if health["status"] == "pass" {
            return Ok(());
        }
        Err(SetupError::Away {
            detail: format!("its health is {}", health["status"]),
        })
    }

    /// Whether it has neither users nor organisations, so that [`set_up`](Self::set_up) is allowed.
    pub async fn is_untouched(&self) -> Result<bool, SetupError> {
        let answer = self.caller.call(Ask::get("/api/v2/setup")).await?;
        let answer = answer.expect(&[200])?;
        let allowed = answer.json()?["allowed"].as_bool();
        allowed.ok_or_else(|| answer.unexpected("no \"allowed\""))
    }

    /// Makes user, organisation, bucket and token. [`SetupError::Refused`] with 422 if the server was
    /// set up already. Not one transaction: a server that is killed meanwhile may have a user and no
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
        let ask = Ask::new(Method::POST, "/api/v2/setup")
            .json(&body)
            .hiding([first.password, first.token]);
        self.caller.call(ask).await?.expect(&[201]).map(drop)
    }

    /// Whether the token may write to the bucket. Writes nothing.
    pub async fn may_write(
        &self,
        token: &Secret,
        org: &str,
        bucket: &str,
    ) -> Result<bool, SetupError> {
        let ask = Ask::new(Method::POST, "/api/v2/write")
            .by(token)
            .query([("org", org), ("bucket", bucket)])
            .body("text/plain; charset=utf-8", Vec::new());
        self.is_let_in(ask, 204)
            .await
            .map(|answer| answer.is_some())
    }

    /// Whether the token may read from the bucket.
    pub async fn may_read(
        &self,
        token: &Secret,
        org: &str,
        bucket: &str,
    ) -> Result<bool, SetupError> {
        let bucket = dashboard::flux_text(bucket);
        let query = format!("from(bucket: {bucket}) |> range(start: -1s) |> limit(n: 1)");
        let ask = Ask::new(Method::POST, "/api/v2/query")
            .by(token)
            .query([("org", org)])
            .accept("application/csv")
            .body("application/vnd.flux", query.into_bytes());
        let Some(answer) = self.is_let_in(ask, 200).await? else {
            return Ok(false);
        };
        // A query that fails late has its error in a table behind the status of success.
        let is_error = |line: &str| line.trim_start_matches(',').starts_with("error,");
        if answer.text().lines().any(is_error) {
            return Err(answer.unexpected("a failed query"));
        }
        Ok(true)
    }

    /// Everything that wants the operator token.
    #[must_use]
    pub fn operator(&self, token: &Secret) -> Operator {
        Operator::new(self.caller.clone(), token.clone())
    }

    /// The answer, unless it says that the token is of no use: unknown, not allowed to, or for
    /// something that isn't there. What a token may not read, it is told, isn't there.
    async fn is_let_in(&self, ask: Ask, success: u16) -> Result<Option<Answer>, SetupError> {
        let answer = self.caller.call(ask).await?;
        match answer.status {
            401 | 403 | 404 => Ok(None),
            _ => answer.expect(&[success]).map(Some),
        }
    }
}

/// The text at a place of an answer.
fn text_at<'a>(value: &'a Value, place: &str) -> Option<&'a str> {
    value.pointer(place).and_then(Value::as_str)
}
