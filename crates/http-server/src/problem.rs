//! Errors as problem documents (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
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
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// The server can't do it now, but a little later.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        self.retry_after.is_some()
    }

    /// Names the items that can't be used.
    #[must_use]
    pub fn with_errors(self, errors: Vec<ItemProblem>) -> Self {
        Self { errors, ..self }
    }

    /// The address has sent too many wrong tokens.
    #[must_use]
    pub fn too_many_failures(wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let detail =
            format!("there were too many wrong tokens from this address: try again in {seconds} s");
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// There is nothing at this path or of this name.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request can be read, and asks for something that isn't possible.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }
}

/// Marks a response whose error isn't a problem document, because another system defines it.
#[derive(Debug, Clone, Copy)]
pub struct OwnError;

/// An item of a request that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ItemProblem {
    /// Its place in the request, from 1 on.
    #[schema(minimum = 1)]
    pub line: usize,
    /// Why, as dead letters have it.
    #[schema(example = "bad_value")]
    pub reason: &'static str,
    /// What exactly is wrong.
    pub detail: String,
    /// If only parts of it can't be used: JSON pointers to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
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
