//! Limits of requests, and what all responses have.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::problem::{OwnError, Problem};

/// How long a response may take to begin.
const RESPONSE_LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of a request's body, unpacked.
const MAX_BODY: usize = 1 << 20;

/// The routes with limits of size and time. Bodies may be packed with gzip, and every error is a problem document.
/// `see` says where the paths and methods are described.
pub fn with_limits(routes: Router, see: &'static str) -> Router {
    routes
        .method_not_allowed_fallback(move |method: Method| async move {
            let detail = format!("{method} isn't allowed here; {see}");
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(RequestDecompressionLayer::new())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            RESPONSE_LIMIT,
        ))
        .layer(middleware::from_fn(as_problem))
        .layer(CompressionLayer::new())
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ))
        .layer(SetResponseHeaderLayer::overriding(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ))
}

/// Makes problem documents of errors that come without one.
async fn as_problem(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_own = response.extensions().get::<OwnError>().is_some();
    if !is_error || is_own || kind.is_some_and(|kind| kind == "application/problem+json") {
        return response;
    }
    let detail = match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            format!("there was no answer within {RESPONSE_LIMIT:?}: ask for less at once")
        }
        _ => "the request can't be answered".to_owned(),
    };
    let mut problem = Problem::new(status, detail).into_response();
    // `Allow` of a 405, for instance.
    for (name, value) in response.headers() {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            problem.headers_mut().append(name, value.clone());
        }
    }
    problem
}
