//! `InfluxDB` 2 as a store, written to through the `influxdb2` client.

use std::time::Duration;

use common::settings::BadSetting;
use influxdb2::api::write::TimestampPrecision;
use influxdb2::{Client, ClientBuilder};
use model::row::Row;

use crate::line;
use crate::{Store, WriteError};

mod answer;
mod settings;
mod setup;
#[cfg(test)]
mod tests;

use answer::Asked;
pub use settings::InfluxSettings;
pub use setup::{Access, Authorization, FirstSetup, Id, InfluxSetup, Operator, SetupError};

/// A server that can't be connected to within this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Finds out that the server's machine has gone while nothing is sent.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Why there is no store to write to.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting can't be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The HTTP client can't start, for instance without TLS.
    #[error("cannot start the http client: {0}")]
    Client(String),
}

/// A bucket of an `InfluxDB` 2. Clones share its connections.
#[derive(Debug, Clone)]
pub struct InfluxStore {
    client: Client,
    asked: Asked,
}

impl InfluxStore {
    /// Makes a client; opens no connection yet.
    pub fn new(settings: &InfluxSettings) -> Result<Self, BuildError> {
        // The client's builder panics at a URL that it can't read.
        let url = settings::checked_url(&settings.url)?;
        let http = http_builder(settings.timeout);
        let token = settings.token.as_ref().map_or("", |token| token.expose());
        let client = ClientBuilder::with_builder(http, url.as_str(), settings.org.as_str(), token)
            .build()
            .map_err(|error| BuildError::Client(error.to_string()))?;
        Ok(Self {
            client,
            asked: Asked {
                url: url.as_str().trim_end_matches('/').to_owned(),
                org: settings.org.clone(),
                bucket: settings.bucket.clone(),
                token: settings.token.clone(),
                timeout: settings.timeout,
            },
        })
    }

    async fn send(&self, lines: Vec<u8>) -> Result<(), WriteError> {
        let empty = lines.is_empty();
        let Asked { org, bucket, .. } = &self.asked;
        self.client
            .write_line_protocol_with_precision(org, bucket, lines, TimestampPrecision::Nanoseconds)
            .await
            .map_err(|error| self.asked.write_error(error, empty))
    }
}

/// What every client here has in common.
fn http_builder(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::ClientBuilder::new()
        .user_agent(concat!("rigline/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(timeout.min(CONNECT_TIMEOUT))
        .tcp_keepalive(TCP_KEEPALIVE)
        // A token must not travel to wherever an answer or the environment points.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

impl Store for InfluxStore {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        let lines = line::encode(rows).map_err(|(index, error)| WriteError::Rejected {
            detail: format!("row {} of {}: {error}", index + 1, rows.len()),
        })?;
        self.send(lines).await
    }

    /// An empty write, which the server checks for token, organisation and bucket.
    async fn preflight(&self) -> Result<(), WriteError> {
        self.send(Vec::new()).await
    }
}
