//! The HTTP server.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use common::harness::Process;
use common::listen;
use common::tls::ServerTls;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::access::{self, Access};
use crate::dashboard;
use crate::parts::Api;
use crate::problem::{OwnError, Problem};
use crate::settings::ApiSettings;
use crate::systems::System;
use crate::{login, openapi};

mod tls;

use self::tls::{Peer, TlsListener};

/// How long a response may take to begin.
const RESPONSE_LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of a request's body.
const MAX_BODY: usize = 1 << 20;
/// How long a stop waits for responses that have begun.
const LAST_RESPONSES: Duration = Duration::from_millis(500);

/// The opened listener of the API.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<ServerTls>,
}

impl Server {
    /// Opens the listener. If the default port is in use, it opens any free port instead.
    pub async fn bind(settings: &ApiSettings) -> anyhow::Result<Self> {
        let tls = settings.tls()?;
        let (addr, is_default) = (settings.api_addr, settings.is_default());
        let listener = listen::bind("API", "API_ADDR", addr, is_default).await?;
        let addr = listener.local_addr()?;
        Ok(Self {
            listener,
            addr,
            tls,
        })
    }

    /// The address that clients connect to.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address as clients write it, with the scheme.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Serves until the process stops. The certificate, and files of secrets, are read again at SIGHUP.
    pub async fn run(
        self,
        api: Api,
        settings: &ApiSettings,
        process: Process,
    ) -> anyhow::Result<()> {
        let access = Access::new(settings, api.clock());
        let system = System::of(settings.api_paths, &api, &access)?;
        let app = guarded(api.clone(), access.clone(), system);
        let reloads = process.clone();
        let reloads = reloads.on_reload(|| access.reload());
        let (stop, stopped) = (process.stop.clone(), process.stop.clone());
        let stopping = async move {
            stopped.cancelled().await;
            // Streams have no end of their own, and the shutdown waits for them.
            api.live().stop();
        };
        let serve = match self.tls {
            None => {
                let app = app.into_make_service_with_connect_info::<SocketAddr>();
                let serve = axum::serve(self.listener, app).with_graceful_shutdown(stopping);
                serve.into_future()
            }
            Some(tls) => {
                let app = app.layer(middleware::from_fn(tls::with_address));
                let app = app.into_make_service_with_connect_info::<Peer>();
                let listener = TlsListener::start(self.listener, self.addr, tls, process.reload);
                let serve = axum::serve(listener, app).with_graceful_shutdown(stopping);
                serve.into_future()
            }
        };
        // A client that reads slowly doesn't hold up the process.
        let limit = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_RESPONSES).await;
        };
        tokio::select! {
            served = serve => served.context("the API's listener ended"),
            () = limit => Ok(()),
            never = reloads => match never {},
        }
    }
}

/// All routes, with their checks.
pub fn router(api: Api, settings: &ApiSettings) -> anyhow::Result<Router> {
    let access = Access::new(settings, api.clock());
    let system = System::of(settings.api_paths, &api, &access)?;
    Ok(guarded(api, access, system))
}

fn guarded(api: Api, access: Access, system: Option<System>) -> Router {
    let (routes, mut document) = openapi::routes();
    let mut not_found = None;
    let pages = match system {
        None => dashboard::routes(),
        Some(system) => {
            not_found = system.not_found;
            let mut of_system = system.document;
            of_system.merge(document);
            document = of_system;
            system.routes
        }
    };
    let document = document.to_pretty_json().unwrap_or_default();
    let routes = routes.with_state(api).layer(middleware::from_fn_with_state(
        access.clone(),
        access::check,
    ));
    let login = Router::new()
        .route("/api/v1/login", post(login::log_in))
        .route("/api/v1/logout", post(login::log_out))
        .with_state(access);
    Router::new()
        .merge(routes)
        .merge(pages)
        .merge(login)
        .route(
            "/openapi.json",
            get(move || async move { ([(header::CONTENT_TYPE, "application/json")], document) }),
        )
        .fallback(async move |uri: Uri| unknown_path(&uri, not_found))
        .method_not_allowed_fallback(method_not_allowed)
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

/// The response to a path that there isn't. Those below Rigline's own are never another system's.
fn unknown_path(uri: &Uri, not_found: Option<fn() -> Response>) -> Response {
    match not_found {
        Some(not_found) if !uri.path().starts_with("/api/v1/") => not_found(),
        _ => Problem::not_found("there is no such path; see /openapi.json").into_response(),
    }
}

async fn method_not_allowed(method: Method) -> Problem {
    let detail = format!("{method} isn't allowed here; see /openapi.json");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
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
