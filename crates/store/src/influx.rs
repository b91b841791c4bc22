//! The store in `InfluxDB` 2, through the `influxdb2` client.

use std::time::Duration;

use common::settings::BadSetting;
use influxdb2::api::write::TimestampPrecision;
use influxdb2::{Client, ClientBuilder};
use model::row::Row;

use crate::line;
use crate::{RowsAtFault, Store, WriteError};

mod answer;
mod history;
mod measurement;
mod settings;
mod setup;
#[cfg(test)]
mod tests;

use answer::Target;
pub use history::InfluxHistory;
pub use measurement::{Measurement, MeasurementError};
pub use settings::InfluxSettings;
pub use setup::{
    Access, Authorization, FirstSetup, Id, InfluxSetup, Kept, Operator, ServerSeen, SetupError,
    WriteAccess,
};

/// How long connecting to the server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Detects a server machine that is gone, also while nothing is sent.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Why a client can't be created.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting can't be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The HTTP client can't start, for instance without TLS.
    #[error("cannot start the http client: {0}")]
    Client(String),
}

/// A measurement in a bucket of an `InfluxDB` 2. Clones share its connections.
#[derive(Debug, Clone)]
pub struct InfluxStore {
    client: Client,
    target: Target,
    measurement: Measurement,
}

impl InfluxStore {
    /// Creates the client for the measurement `rig_measurements`. Connects at the first write.
    pub fn new(settings: &InfluxSettings) -> Result<Self, BuildError> {
        // The client's builder panics at an invalid URL.
        let target = Target::new(settings)?;
        let http = http_builder(settings.timeout);
        let token = settings.token.as_ref().map_or("", |token| token.expose());
        let client =
            ClientBuilder::with_builder(http, target.url.as_str(), settings.org.as_str(), token)
                .build()
                .map_err(|error| BuildError::Client(error.to_string()))?;
        Ok(Self {
            client,
            target,
            measurement: Measurement::default(),
        })
    }

    /// The same bucket with another measurement.
    #[must_use]
    pub fn with_measurement(mut self, measurement: Measurement) -> Self {
        self.measurement = measurement;
        self
    }

    /// Sends the lines of `rows` rows.
    async fn send(&self, lines: Vec<u8>, rows: usize) -> Result<(), WriteError> {
        let Target { org, bucket, .. } = &self.target;
        self.client
            .write_line_protocol_with_precision(org, bucket, lines, TimestampPrecision::Nanoseconds)
            .await
            .map_err(|error| self.target.write_error(error, rows))
    }
}

/// The settings of every HTTP client for InfluxDB.
fn http_builder(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::ClientBuilder::new()
        .user_agent(concat!("rigline/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(timeout.min(CONNECT_TIMEOUT))
        .tcp_keepalive(TCP_KEEPALIVE)
        // A token must not be sent to an address from a response or from the environment.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

impl Store for InfluxStore {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        let lines = line::encode(&self.measurement, rows).map_err(|(index, error)| {
            WriteError::Rejected {
                detail: format!("row {} of {}: {error}", index + 1, rows.len()),
                at_fault: RowsAtFault::Some,
            }
        })?;
        self.send(lines, rows.len()).await
    }

    /// Sends an empty write: the server checks token, organisation and bucket.
    async fn preflight(&self) -> Result<(), WriteError> {
        self.send(Vec::new(), 0).await
    }
}
