//! The HTTP server.

use std::net::SocketAddr;

use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use common::harness::Process;
use http_server::{Access, HttpListener, Problem, access, with_limits};

use crate::parts::Api;
use crate::routes::reports::Reports;
use crate::settings::ApiSettings;
use crate::systems::System;
use crate::{dashboard, login, openapi};

/// The opened listener of the API.
#[derive(Debug)]
pub struct Server(HttpListener);

impl Server {
    /// Opens the listener. If the default port is in use, it opens any free port instead.
    pub async fn bind(settings: &ApiSettings) -> anyhow::Result<Self> {
        let tls = settings.tls()?;
        let (addr, is_default) = (settings.api_addr, settings.is_default());
        let listener = HttpListener::bind("API", "API_ADDR", addr, is_default, tls).await?;
        Ok(Self(listener))
    }

    /// The address that clients connect to.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// The address as clients write it, with the scheme.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Serves until the process stops. The certificate, and files of secrets, are read again at SIGHUP.
    pub async fn run(
        self,
        api: Api,
        settings: &ApiSettings,
        process: Process,
    ) -> anyhow::Result<()> {
        let access = Access::new(settings.access(), api.clock());
        let system = System::of(settings.api_paths, &api, &access)?;
        let reports = Reports::new(settings.report_dir.as_ref());
        let app = guarded(api.clone(), access.clone(), reports, system);
        let reloads = process.on_reload(|| access.reload());
        // Streams have no end of their own, and the shutdown waits for them.
        let at_stop = move || api.live().stop();
        tokio::select! {
            () = self.0.serve(app, &process, at_stop) => Ok(()),
            never = reloads => match never {},
        }
    }
}

/// All routes, with their checks.
pub fn router(api: Api, settings: &ApiSettings) -> anyhow::Result<Router> {
    let access = Access::new(settings.access(), api.clock());
    let system = System::of(settings.api_paths, &api, &access)?;
    let reports = Reports::new(settings.report_dir.as_ref());
    Ok(guarded(api, access, reports, system))
}

fn guarded(api: Api, access: Access, reports: Reports, system: Option<System>) -> Router {
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
    let routes =
        routes
            .with_state(api)
            .layer(Extension(reports))
            .layer(middleware::from_fn_with_state(
                access.clone(),
                access::check,
            ));
    let login = Router::new()
        .route("/api/v1/login", post(login::log_in))
        .route("/api/v1/logout", post(login::log_out))
        .with_state(access);
    let routes = Router::new()
        .merge(routes)
        .merge(pages)
        .merge(login)
        .route(
            "/openapi.json",
            get(move || async move { ([(header::CONTENT_TYPE, "application/json")], document) }),
        )
        .fallback(async move |uri: Uri| unknown_path(&uri, not_found));
    with_limits(routes, "see /openapi.json")
}

/// The response to a path that there isn't. Those below Rigline's own are never another system's.
fn unknown_path(uri: &Uri, not_found: Option<fn() -> Response>) -> Response {
    match not_found {
        Some(not_found) if !uri.path().starts_with("/api/v1/") => not_found(),
        _ => Problem::not_found("there is no such path; see /openapi.json").into_response(),
    }
}
