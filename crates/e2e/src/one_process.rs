//! The single process (`rigline up`): its data directory and its port.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::clock::Clock;
use model::name::RIG_ID;
use queue::ledger::Ledger;
use queue::sqlite::SqliteQueue;
use queue::{Queue, Snapshot};
use rigline::up::{QUEUE_FILE, STORE_FILE};
use store::history::Selection;
use store::{History, SqliteHistory};
use tempfile::TempDir;
use testkit::{Launch, StageProcess, free_port, mqtt_client};

use crate::rows::Rows;

/// The number of rows read per page.
const PAGE: usize = 10_000;

/// A data directory, and the settings with which the process finds it.
#[derive(Debug)]
pub struct OneProcess {
    data: PathBuf,
    /// Removes the directory, if it was created here.
    _own: Option<TempDir>,
    port: u16,
    env: Vec<(String, String)>,
}

impl OneProcess {
    /// Creates a temporary directory; `extra` are settings of the process.
    #[must_use]
    pub fn new(extra: &[(&str, &str)]) -> Self {
        let own = TempDir::with_prefix("one_process-").expect("a temporary directory");
        let data = own.path().join("data");
        Self::around(data, Some(own), extra)
    }

    /// As [`OneProcess::new`], in a directory that the caller removes.
    #[must_use]
    pub fn within(data: PathBuf, extra: &[(&str, &str)]) -> Self {
        Self::around(data, None, extra)
    }

    fn around(data: PathBuf, own: Option<TempDir>, extra: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut env = vec![
            ("RIGLINE_DATA".to_owned(), data.display().to_string()),
            ("MQTT_LISTEN".to_owned(), format!("127.0.0.1:{port}")),
        ];
        let given = extra.iter();
        env.extend(given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self {
            data,
            _own: own,
            port,
            env,
        }
    }

    /// The settings of the process.
    #[must_use]
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// The port that it listens on for MQTT.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file with the lists.
    #[must_use]
    pub fn queue_file(&self) -> PathBuf {
        self.data.join(QUEUE_FILE)
    }

    /// The file with the rows.
    #[must_use]
    pub fn store_file(&self) -> PathBuf {
        self.data.join(STORE_FILE)
    }

    /// Starts `rigline up`; `extra` overrides other settings.
    #[must_use]
    pub fn spawn(&self, extra: &[(&str, &str)]) -> StageProcess {
        let launch = Launch::stage("rigline").args(&["up"]);
        launch.envs(&self.env).envs(extra).spawn()
    }

    /// The queue's counters and lengths. The file is closed afterwards, so that a killed process finds it
    /// as it has left it.
    pub async fn ledger(&self) -> Result<Ledger, queue::QueueError> {
        let settings = queue::testing::settings();
        let queue = SqliteQueue::open_read_only(&self.queue_file(), &settings, Clock::system())?;
        let Snapshot { ledger, .. } = queue.snapshot().await?;
        Ok(ledger)
    }

    /// All rows in the store; none before the store exists.
    pub async fn rows(&self) -> Rows {
        let path = self.store_file();
        if path.exists() {
            read_store(&path).await
        } else {
            Rows::new()
        }
    }

    /// Publishes with `mosquitto_pub`.
    pub fn publish(&self, topic: &str, payload: &str) {
        let mut client = mqtt_client("mosquitto_pub", self.port);
        client.args(["-q", "1", "-t", topic, "-m", payload]);
        let status = client.status().expect("mosquitto_pub");
        assert!(status.success(), "mosquitto_pub: {status}");
    }
}

async fn read_store(path: &Path) -> Rows {
    let history = SqliteHistory::open_read_only(path).expect("a store");
    let mut rows = Rows::new();
    for span in history.series().await.expect("the series of the store") {
        let mut from = Some(span.first);
        while let Some(start) = from {
            let selection = Selection {
                series: &span.key,
                fields: &[],
                from: start,
                to: span.last.plus(Duration::from_nanos(1)),
            };
            let page = history.range(selection, PAGE).await.expect("a page");
            for row in page.rows {
                let named = row.tags.iter().find(|(name, _)| name == RIG_ID);
                let name = named.map(|(_, value)| value.to_string());
                let name = name.unwrap_or_else(|| span.key.clone());
                for (sensor, value) in &row.fields {
                    let millis = row.timestamp.nanos() / 1_000_000;
                    let cell = (name.clone(), millis, sensor.to_string());
                    let value = value.as_number().expect("a number");
                    rows.entry(cell).or_default().push(value);
                }
            }
            from = page.next;
        }
    }
    rows
}
