//! The store in `InfluxDB` 2: through the `influxdb2` client, or without it with TLS and in builds without the crate.

use std::sync::Arc;
use std::time::Duration;

use common::settings::BadSetting;
use model::row::Row;

use crate::line;
use crate::{RowsAtFault, Store, WriteError};

mod answer;
mod clients;
mod history;
mod measurement;
#[cfg(feature = "influxdb2")]
mod plain;
mod settings;
mod setup;
#[cfg(test)]
mod tests;
mod write;

use answer::Target;
use clients::{Clients, Current};
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
    clients: Arc<Clients>,
    target: Target,
    measurement: Measurement,
}

impl InfluxStore {
    /// Creates the client for the measurement `rig_measurements`. Connects at the first write.
    pub fn new(settings: &InfluxSettings) -> Result<Self, BuildError> {
        Ok(Self {
            clients: Arc::new(Clients::new(settings)?),
            target: Target::new(settings)?,
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
        let current = self.clients.current();
        let written = self.post(&current, lines, rows).await;
        if matches!(written, Err(WriteError::Denied { .. })) {
            self.clients.renew();
        }
        written
    }

    async fn post(&self, current: &Current, lines: Vec<u8>, rows: usize) -> Result<(), WriteError> {
        #[cfg(feature = "influxdb2")]
        if let Some(writer) = &current.writer {
            return plain::send(writer, &self.target, lines, rows).await;
        }
        write::send(&self.clients, current, &self.target, lines, rows).await
    }
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
