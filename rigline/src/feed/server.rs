//! The HTTP server of the streams.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use http_server::{Access, Problem, access, with_limits};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::NamedFile;
use super::file::{Cursor, NoCursor, OpenError, OpenFile, blocking};
use super::reading::Reading;
use super::scanner::Scanner;

/// Readers at the same time. Each has a task, an open file, and up to some hundred KiB of lines that wait for it.
const MAX_READERS: usize = 256;
/// Chunks that wait for a slow reader.
const WAITING: usize = 2;
/// Neither a cache nor a proxy in between may hold back what a response brings.
const UNBUFFERED: [(HeaderName, &str); 2] = [
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

/// What requests need.
#[derive(Clone)]
pub(super) struct Streams {
    files: Arc<[NamedFile]>,
    /// The pause after each item.
    pause: Option<Duration>,
    free: Arc<Semaphore>,
    stop: CancellationToken,
}

/// The query of a stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    after: Option<String>,
    #[serde(default)]
    follow: bool,
}

impl Streams {
    pub(super) fn new(
        files: &[NamedFile],
        pause: Option<Duration>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            files: files.into(),
            pause,
            free: Arc::new(Semaphore::new(MAX_READERS)),
            stop,
        }
    }

    /// The routes, with their checks.
    pub(super) fn router(self, access: Access) -> Router {
        let routes = Router::new()
            .route("/", get(list))
            .route("/{name}", get(stream))
            .fallback(async || Problem::not_found("there is no such path; / lists the streams"))
            .layer(middleware::from_fn_with_state(access, access::check))
            .with_state(self);
        with_limits(routes, "streams are read with GET")
    }
}

async fn list(State(streams): State<Streams>) -> Json<Value> {
    let files = streams.files.iter();
    let files = files.map(|file| json!({ "name": file.name, "path": format!("/{}", file.name) }));
    Json(json!({ "streams": files.collect::<Vec<_>>() }))
}

async fn stream(
    State(streams): State<Streams>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let found = streams.files.iter().find(|file| file.name == name);
    let found = found.ok_or_else(|| {
        Problem::not_found(format!(
            "there is no stream {name:?}; / lists those that there are"
        ))
    })?;
    let query: Query = serde_html_form::from_str(query.as_deref().unwrap_or_default())
        .map_err(|error| bad_request(format!("the query can't be used: {error}")))?;
    let permit = streams.free.clone().try_acquire_owned();
    let permit = permit.map_err(|_| {
        Problem::unavailable(format!("{MAX_READERS} readers are served at the same time"))
    })?;
    let (opened, after) = (found.clone(), query.after.clone());
    let opened = blocking(move || open(&opened, after.as_deref())).await;
    let (file, scanner) = opened.unwrap_or_else(|error| Err(unusable(found, &error.into())))?;
    let (lines, receive) = mpsc::channel(WAITING);
    let reading = Reading {
        name,
        path: found.path.clone(),
        file,
        after: query.after,
        scanner,
        pause: streams.pause,
        follow: query.follow,
        lines,
        items: 0,
    };
    let stop = streams.stop.clone();
    tokio::spawn(async move {
        reading.run(stop).await;
        drop(permit);
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let body = Body::from_stream(ReceiverStream::new(receive));
    Ok((kind, UNBUFFERED, body).into_response())
}

/// Opens a file at a cursor.
fn open(file: &NamedFile, after: Option<&str>) -> Result<(OpenFile, Scanner), Problem> {
    let cursor: Option<Cursor> = after
        .map(str::parse)
        .transpose()
        .map_err(|NoCursor| bad_request("after isn't a cursor of a line of this stream"))?;
    let opened = OpenFile::open(&file.path).map_err(|error| unusable(file, &error))?;
    let Some(cursor) = cursor else {
        return Ok((opened, Scanner::new()));
    };
    if cursor.stamp != opened.stamp {
        let detail = "the file has been replaced since: start without after";
        return Err(Problem::new(StatusCode::GONE, detail));
    }
    let has_end = opened.has_end_at(cursor.end);
    if has_end.map_err(|error| unusable(file, &error.into()))? {
        Ok((opened, Scanner::after(cursor.end)))
    } else {
        Err(bad_request(
            "after isn't a cursor of a line of this stream: no item ends there",
        ))
    }
}

fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// Reports a file that could be streamed when the process started.
fn unusable(file: &NamedFile, error: &OpenError) -> Problem {
    let (name, path) = (&file.name, file.path.display());
    tracing::warn!(name, file = %path, %error, "a file can't be streamed");
    let detail = format!("the file of the stream {name} can't be streamed: {error}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}
