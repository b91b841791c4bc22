//! The dashboard: files that are part of the program, so that nothing is fetched from elsewhere.
//!
//! They hold no data, so they are served without a token: the page itself asks for one.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// Only what this server sends is run, shown or asked, and no other page can frame it.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
                      object-src 'none'";

/// The same for the page of the API's document: Swagger UI sets styles, and has images in its own.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The first bytes of what gzip has compressed (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// Names, kinds and contents of files in `api/dashboard`.
macro_rules! files {
    ($($name:literal: $kind:expr,)+) => {
        [$(($name, $kind, include_bytes!(concat!("../dashboard/", $name)).as_slice()),)+]
    };
}

const FILES: &[(&str, &str, &[u8])] = &files! {
    "index.html": HTML,
    "sensors.html": HTML,
    "login.html": HTML,
    "docs.html": HTML,
    "style.css": STYLE,
    "icon.svg": IMAGE,
    "alerts.js": SCRIPT,
    "api.js": SCRIPT,
    "app.js": SCRIPT,
    "chart.js": SCRIPT,
    "dead_letters.js": SCRIPT,
    "docs.js": SCRIPT,
    "dom.js": SCRIPT,
    "fleet.js": SCRIPT,
    "format.js": SCRIPT,
    "freshness.js": SCRIPT,
    "live.js": SCRIPT,
    "login.js": SCRIPT,
    "pipeline.js": SCRIPT,
    "series.js": SCRIPT,
    "theme.js": SCRIPT,
    "vendor/uPlot.iife.min.js": SCRIPT,
    "vendor/uPlot.min.css": STYLE,
    "vendor/LICENSE": TEXT,
    "vendor/swagger-ui/swagger-ui-bundle.js.gz": SCRIPT,
    "vendor/swagger-ui/swagger-ui.css.gz": STYLE,
    "vendor/swagger-ui/LICENSE": TEXT,
    "vendor/swagger-ui/NOTICE": TEXT,
};

/// A file with what its response says of it.
#[derive(Debug)]
struct File {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
    etag: HeaderValue,
}

type Files = Arc<Vec<File>>;

/// The dashboard at `/`, and the pages that are there with any first page.
pub(crate) fn routes() -> Router {
    pages(Some("index.html"))
}

/// The page of this name at `/`, if there is one, the login at `/login`, the API's document at `/docs`, and what they load below
/// `/assets`.
pub(crate) fn pages(first: Option<&'static str>) -> Router {
    let files = FILES.iter().map(|&(name, kind, content)| File {
        name,
        kind,
        content,
        etag: etag(content),
    });
    let files: Files = Arc::new(files.collect());
    let page = |name: &'static str| {
        get(
            async move |State(files): State<Files>, headers: HeaderMap| {
                respond(&files, name, &headers)
            },
        )
    };
    let mut routes = Router::new();
    if let Some(first) = first {
        routes = routes.route("/", page(first));
    }
    routes
        .route("/login", page("login.html"))
        .route("/docs", page("docs.html"))
        .route(
            "/assets/{*name}",
            get(
                async |State(files): State<Files>, Path(name): Path<String>, headers: HeaderMap| {
                    respond(&files, &name, &headers)
                },
            ),
        )
        .with_state(files)
}

fn etag(content: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(content);
    let text = URL_SAFE_NO_PAD.encode(&digest[..16]);
    // Weak, since the content may be sent compressed.
    HeaderValue::from_str(&format!("W/\"{text}\"")).unwrap_or(HeaderValue::from_static("W/\"0\""))
}

fn respond(files: &Files, name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = files.iter().find(|file| file.name == name) else {
        return Problem::not_found("there is no such file of the dashboard").into_response();
    };
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let is_known = known
        .filter_map(|known| known.to_str().ok())
        .flat_map(|known| known.split(','))
        .any(|known| known.trim().as_bytes() == file.etag.as_bytes());
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(file.content).into_response()
    };
    let policy = if file.name == "docs.html" {
        DOCS_POLICY
    } else {
        POLICY
    };
    let fields = [
        (header::CONTENT_TYPE, file.kind),
        // The browser keeps it, and asks each time whether it is still the same.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    let headers = response.headers_mut();
    for (name, value) in fields {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::ETAG, file.etag.clone());
    // Large files are kept compressed, which every browser takes.
    let is_compressed = file.content.starts_with(&GZIP);
    if is_compressed && !is_known {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
