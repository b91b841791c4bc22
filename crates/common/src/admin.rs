//! The admin listener of a process: `/healthz`, `/readyz`, `/metrics`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::http;

/// How long a health check waits for a response.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone)]
struct Admin {
    health: Health,
    metrics: PrometheusHandle,
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) {
    let app = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .with_state(Admin { health, metrics });
    http::serve(listener, app, stop).await;
}

async fn healthz(State(admin): State<Admin>) -> impl IntoResponse {
    let seconds = admin.health.since_tick().as_secs();
    if admin.health.is_live() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        let stuck = format!("the main loop hasn't ticked for {seconds} s\n");
        (StatusCode::SERVICE_UNAVAILABLE, stuck)
    }
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let report = admin.health.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let (status, body) = match serde_json::to_string(&report) {
        Ok(body) => (status, body),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body + "\n",
    )
}

async fn prometheus(State(admin): State<Admin>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        admin.metrics.render(),
    )
}

/// Requests `path` (`/healthz`, `/readyz`) from a running process. Returns the body of the response,
/// as an error unless the status is 200.
pub fn check(addr: SocketAddr, path: &str) -> anyhow::Result<String> {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let addr = SocketAddr::new(ip, addr.port());
    let mut stream = TcpStream::connect_timeout(&addr, CHECK_TIMEOUT)
        .with_context(|| format!("nothing listens on {addr}"))?;
    stream.set_read_timeout(Some(CHECK_TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n").as_bytes())?;
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .context("no response")?;
    let body = response
        .split_once("\r\n\r\n")
        .map_or("", |(_, body)| body)
        .trim()
        .to_owned();
    anyhow::ensure!(response.split(' ').nth(1) == Some("200"), "{body}");
    Ok(body)
}
