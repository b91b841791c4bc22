//! What may go wrong, as problem documents (RFC 9457).

use axum::http::StatusCode;
#[cfg(feature = "mongodb")]
pub(crate) use http_server::OwnError;
pub(crate) use http_server::Problem;
use queue::QueueError;
use store::ReadError;
use utoipa::IntoResponses;

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

/// What may go wrong where reports are read.
#[expect(dead_code, reason = "describes responses in the OpenAPI document")]
#[derive(IntoResponses)]
pub(crate) enum ReportProblems {
    /// There is no such report.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// The directory can't be read now.
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

/// The rows can't be read.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
pub(crate) fn unreadable(error: ReadError) -> Problem {
    let status = match &error {
        ReadError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        ReadError::BadRequest { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        ReadError::Denied { .. } => StatusCode::BAD_GATEWAY,
    };
    Problem::new(status, error.to_string())
}

/// The lists can't be read or changed.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
pub(crate) fn lists_failed(error: QueueError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
