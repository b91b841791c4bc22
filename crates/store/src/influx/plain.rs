//! Writes to `http://` through the `influxdb2` client, which returns no headers: what `Retry-After` asks for isn't known.

use common::secret::Secret;
use influxdb2::api::write::TimestampPrecision;
use influxdb2::{Client, RequestError};
use reqwest::StatusCode;
use reqwest_of_influxdb2::{ClientBuilder, redirect};

use super::answer::{Target, chain};
use super::clients::USER_AGENT;
use super::{BuildError, CONNECT_TIMEOUT, InfluxSettings, TCP_KEEPALIVE};
use crate::WriteError;

/// The client of a URL without TLS, which has to be valid: the client's builder panics otherwise.
pub(super) fn client(
    url: &str,
    settings: &InfluxSettings,
    token: Option<&Secret>,
) -> Result<Client, BuildError> {
    let http = ClientBuilder::new()
        .user_agent(USER_AGENT)
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT))
        .tcp_keepalive(TCP_KEEPALIVE)
        .redirect(redirect::Policy::none())
        .no_proxy()
        // Nothing of the HTTP/2 in this stack is used.
        .http1_only();
    let url = url.trim_end_matches('/');
    let token = token.map_or("", |token| token.expose());
    influxdb2::ClientBuilder::with_builder(http, url, settings.org.as_str(), token)
        .build()
        .map_err(|error| BuildError::Client(error.to_string()))
}

/// Sends the lines of `rows` rows.
pub(super) async fn send(
    client: &Client,
    target: &Target,
    lines: Vec<u8>,
    rows: usize,
) -> Result<(), WriteError> {
    let Target { org, bucket, .. } = target;
    let precision = TimestampPrecision::Nanoseconds;
    client
        .write_line_protocol_with_precision(org, bucket, lines, precision)
        .await
        .map_err(|error| write_error(target, error, rows))
}

/// The error of a write of `rows` rows.
fn write_error(target: &Target, error: RequestError, rows: usize) -> WriteError {
    let detail = match error {
        RequestError::Http { status, text } => {
            let status = StatusCode::from_u16(status.as_u16());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return target.refusal(status, &text, rows);
        }
        RequestError::ReqwestProcessing { source } if source.is_timeout() => target.silent(),
        RequestError::ReqwestProcessing { source } => {
            format!("{}: {}", target.url, chain(&source.without_url()))
        }
        other => format!("{}: {other}", target.url),
    };
    WriteError::Retry {
        detail,
        after: None,
    }
}
