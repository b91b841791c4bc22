//! The server that takes messages.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use common::clock::Clock;
use common::harness::Process;
use http_server::{Access, HttpListener, Problem, access, with_limits};
use model::Timestamp;
use model::dead_letter::Rejection;
use model::pipeline::TopicTemplate;
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

use super::{HttpSettings, store_messages};
use crate::posted::Inbox;

/// Requests that are answered at the same time. Each holds up to 1 MiB.
const MAX_REQUESTS: usize = 128;

/// Says why the ingester would reject a message, or a part of it, that arrives at this time.
pub type MessageCheck = Arc<dyn Fn(&str, &[u8], Timestamp) -> Option<Rejection> + Send + Sync>;

/// A pipeline that takes messages at its path.
#[derive(Clone)]
pub struct HttpRoute {
    /// The paths, which begin with a slash.
    pub path: TopicTemplate,
    /// Where its ingester receives from.
    pub inbox: Inbox,
    /// How it validates messages.
    pub check: MessageCheck,
}

impl fmt::Debug for HttpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpRoute").field(&self.path).finish()
    }
}

/// Takes the messages of all pipelines whose source is HTTP.
#[derive(Debug)]
pub struct HttpReceiver {
    routes: Vec<HttpRoute>,
    settings: HttpSettings,
}

/// What requests need.
#[derive(Clone)]
struct Parts {
    routes: Arc<[HttpRoute]>,
    free: Arc<Semaphore>,
    clock: Clock,
}

impl HttpReceiver {
    /// Takes messages for these pipelines.
    #[must_use]
    pub fn new(routes: Vec<HttpRoute>, settings: &HttpSettings) -> Self {
        let settings = settings.clone();
        Self { routes, settings }
    }

    /// Answers requests until the process stops. The certificate, and the file of the token, are read again at SIGHUP.
    pub async fn run(self, listener: HttpListener, process: Process) -> anyhow::Result<()> {
        let paths: Vec<_> = self
            .routes
            .iter()
            .map(|route| route.path.as_str())
            .collect();
        tracing::info!(
            url = listener.url(),
            paths = paths.join(", "),
            "taking messages over HTTP"
        );
        let access = Access::new(self.settings.access(), process.clock);
        let reloads = process.on_reload(|| access.reload());
        let app = self.router(access.clone(), process.clock);
        tokio::select! {
            () = listener.serve(app, &process, || {}) => Ok(()),
            never = reloads => match never {},
        }
    }

    /// The routes, with their checks.
    fn router(self, access: Access, clock: Clock) -> Router {
        let parts = Parts {
            routes: self.routes.into(),
            free: Arc::new(Semaphore::new(MAX_REQUESTS)),
            clock,
        };
        let routes = Router::new()
            .route("/", post(take))
            .route("/{*path}", post(take))
            .layer(middleware::from_fn_with_state(
                parts.clone(),
                limit_requests,
            ))
            .layer(middleware::from_fn_with_state(access, access::check))
            .with_state(parts);
        with_limits(routes, "messages are sent with POST")
    }
}

/// Refuses a request while too many others are answered. Bodies are read only then.
async fn limit_requests(State(parts): State<Parts>, request: Request, next: Next) -> Response {
    let Ok(_permit) = parts.free.try_acquire() else {
        let detail = format!("{MAX_REQUESTS} requests are answered at the same time");
        return Problem::unavailable(detail).into_response();
    };
    next.run(request).await
}

/// Takes the messages of a request for each pipeline that has its path.
async fn take(
    State(parts): State<Parts>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let path = decoded(&uri)?;
    let fitting = parts.routes.iter();
    let fitting: Vec<_> = fitting
        .filter(|route| route.path.matches(&path).is_some())
        .collect();
    if fitting.is_empty() {
        let paths: Vec<_> = parts.routes.iter().map(|it| it.path.as_str()).collect();
        let paths = paths.join(", ");
        return Err(Problem::not_found(format!(
            "no pipeline takes messages at {path:?}; there are: {paths}"
        )));
    }
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let now = parts.clock.now();
    let mut result = Ok(StatusCode::NO_CONTENT);
    for route in fitting {
        if !route.inbox.is_received() {
            let detail = "this ingester doesn't receive now: it is starting or stopping, or another one holds the lease";
            return Err(Problem::unavailable(detail));
        }
        let check = |message: &[u8]| (route.check)(&path, message, now);
        let stored = store_messages(&route.inbox, &path, kind, &body, check).await;
        match stored {
            Err(problem) if problem.is_temporary() => return Err(problem),
            // What one pipeline can't use may be good for the others.
            stored => result = result.and(stored.map(|()| StatusCode::NO_CONTENT)),
        }
    }
    result
}

/// The path of a request, which becomes the topic of its messages.
fn decoded(uri: &Uri) -> Result<String, Problem> {
    let refused = |detail| Problem::new(StatusCode::BAD_REQUEST, detail);
    let path = uri.path();
    if path.to_ascii_lowercase().contains("%2f") {
        return Err(refused("a level of the path can't have a slash"));
    }
    let decoded = percent_decode_str(path).decode_utf8();
    let decoded = decoded.map_err(|_| refused("the path isn't UTF-8"))?;
    if decoded.contains('\0') {
        return Err(refused("the path has the character 0"));
    }
    Ok(decoded.into_owned())
}
