//! Errors as problem documents (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use queue::QueueError;
use serde::Serialize;
use store::ReadError;
use utoipa::{IntoResponses, ToSchema};

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of error it is, for people; the same for each status.
    #[schema(example = "Unprocessable Content")]
    title: &'static str,
    /// The status of the response.
    #[schema(minimum = 400, maximum = 599, example = 422)]
    status: u16,
    /// What exactly is wrong, and what to do.
    #[schema(example = "from: \"yesterday\" isn't a time")]
    detail: String,
    /// Of a request with several items: those that can't be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ItemProblem>,
    /// Seconds until another attempt may succeed, for the header `Retry-After`.
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    /// A problem with this status, which has to be that of an error.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// The server can't do it now, but a little later.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    pub(crate) fn with_errors(self, errors: Vec<ItemProblem>) -> Self {
        Self { errors, ..self }
    }

    pub(crate) fn too_many_failures(wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let detail =
            format!("there were too many wrong tokens from this address: try again in {seconds} s");
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "log in at /login, or send the token of API_TOKEN or one that API_JWT_SECRET signs: \
                      Authorization: Bearer TOKEN";
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }
}

/// Marks a response whose error isn't a problem document, because another system defines it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnError;

/// An item of a request that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ItemProblem {
    /// Its place in the request, from 1 on.
    #[schema(minimum = 1)]
    pub(crate) line: usize,
    /// Why, as dead letters have it.
    #[schema(example = "bad_value")]
    pub(crate) reason: &'static str,
    /// What exactly is wrong.
    pub(crate) detail: String,
    /// If only parts of it can't be used: JSON pointers to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) places: Vec<String>,
}

/// What may go wrong where messages are taken.
#[expect(dead_code, reason = "describes responses in the OpenAPI document")]
#[derive(IntoResponses)]
pub(crate) enum MessageProblems {
    /// The body can't be read.
    #[response(status = 400, content_type = "application/problem+json")]
    Broken(#[to_schema] Problem),
    /// There is no such pipeline, or it has no ingester in this process.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// Some messages can't be used and are dead letters, or there are too many; `errors` says which.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// The list is full, or can't be written now.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

/// What may go wrong where lists are read.
#[expect(dead_code, reason = "describes responses in the OpenAPI document")]
#[derive(IntoResponses)]
pub(crate) enum ListProblems {
    /// There is no such pipeline, or no such entry.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// The request can't be read.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// The lists can't be read now.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

/// What may go wrong where lists are changed.
#[expect(dead_code, reason = "describes responses in the OpenAPI document")]
#[derive(IntoResponses)]
pub(crate) enum ChangeProblems {
    /// The body isn't JSON.
    #[response(status = 400, content_type = "application/problem+json")]
    NotJson(#[to_schema] Problem),
    /// There is no such pipeline.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// The body's type isn't `application/json`.
    #[response(status = 415, content_type = "application/problem+json")]
    NotSupported(#[to_schema] Problem),
    /// The request can't be carried out.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// The lists can't be changed now.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

/// What may go wrong where rows are read.
#[expect(dead_code, reason = "describes responses in the OpenAPI document")]
#[derive(IntoResponses)]
pub(crate) enum SeriesProblems {
    /// There is no such pipeline, or no such series.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// The request can't be read, or asks for too much.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// The store is damaged or refuses the request: an operator has to act.
    #[response(status = 502, content_type = "application/problem+json")]
    Denied(#[to_schema] Problem),
    /// The store can't be read now.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let status = match &error {
            ReadError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            ReadError::BadRequest { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ReadError::Denied { .. } => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}
