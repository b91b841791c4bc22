//! A broker, a Redis, a time-series store, and the stages between them.

use std::time::Duration;

use queue::ledger::Ledger;
use queue::redis::RedisQueue;
use queue::settings::QueueSettings;
use queue::{Queue, Snapshot};
use testkit::influxdb::TOKEN;
use testkit::{InfluxDb, Mosquitto, Redis, StageProcess};

use crate::rows::{Rows, read_back};
use crate::wait_for;

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads from the broker and appends to the raw list.
    Ingester,
    /// Reads from the raw list and appends to the normalized list.
    Transformer,
    /// Reads from the normalized list and writes to the store.
    Sink,
    /// All stages in one process.
    Up,
}

impl Role {
    /// The roles of separate processes, in the order of the data flow.
    pub const ALL: [Self; 3] = [Self::Ingester, Self::Transformer, Self::Sink];

    /// The binary's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingester => "ingester",
            Self::Transformer => "transformer",
            Self::Sink => "sink",
            Self::Up => "up",
        }
    }
}

/// Running servers, and the settings with which stages find them.
#[derive(Debug)]
pub struct Chain {
    /// The broker.
    pub mosquitto: Mosquitto,
    /// The lists.
    pub redis: Redis,
    /// The store.
    pub influxdb: InfluxDb,
    env: Vec<(String, String)>,
}

impl Chain {
    /// Starts the servers; `extra` are settings of all stages.
    #[must_use]
    pub fn start(extra: &[(&str, &str)]) -> Self {
        Self::around(Mosquitto::start(), Redis::start(), extra)
    }

    /// As [`Chain::start`], with a broker and a Redis that are already running.
    #[must_use]
    pub fn around(mosquitto: Mosquitto, redis: Redis, extra: &[(&str, &str)]) -> Self {
        let influxdb = InfluxDb::start();
        let own = |name: &str, value: String| (name.to_owned(), value);
        let mut env = vec![
            own("MQTT_HOST", "127.0.0.1".into()),
            own("MQTT_PORT", mosquitto.port().to_string()),
            own("REDIS_HOST", "127.0.0.1".into()),
            own("REDIS_PORT", redis.port().to_string()),
            own("INFLUX_URL", influxdb.url()),
            own("INFLUX_TOKEN", TOKEN.into()),
        ];
        env.extend(
            extra
                .iter()
                .map(|(name, value)| own(name, (*value).to_owned())),
        );
        Self {
            mosquitto,
            redis,
            influxdb,
            env,
        }
    }

    /// The settings with which a stage finds the servers.
    #[must_use]
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// Starts a stage; `extra` overrides the settings of all stages.
    #[must_use]
    pub fn spawn(&self, name: &str, extra: &[(&str, &str)]) -> StageProcess {
        let common = self
            .env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let env: Vec<_> = common.chain(extra.iter().copied()).collect();
        StageProcess::spawn(name, &env)
    }

    /// Starts ingester, transformer and sink, and waits until they are ready.
    #[must_use]
    pub fn spawn_all(&self) -> [StageProcess; 3] {
        let stages = Role::ALL.map(|role| self.spawn(role.name(), &[]));
        for stage in &stages {
            assert!(
                stage.ready(Duration::from_secs(20)),
                "not ready:\n{}",
                stage.logs()
            );
        }
        stages
    }

    /// A client of the queue, as stages use it.
    #[must_use]
    pub fn queue(&self) -> RedisQueue {
        self.queue_of(&queue::testing::settings())
    }

    /// A client of the queue with other settings.
    #[must_use]
    pub fn queue_of(&self, settings: &QueueSettings) -> RedisQueue {
        let redis = queue::testing::redis_settings(self.redis.port());
        RedisQueue::new(settings, &redis).expect("a queue")
    }

    /// The queue's counters and lengths.
    pub async fn ledger(&self) -> Ledger {
        let Snapshot { ledger, .. } = self
            .queue()
            .snapshot()
            .await
            .expect("a snapshot of the queue");
        ledger
    }

    /// Waits until `is_done` holds for the ledger; panics with the last ledger after `limit`.
    pub async fn wait_for(&self, limit: Duration, is_done: impl Fn(&Ledger) -> bool) -> Ledger {
        wait_for(async || self.ledger().await, limit, is_done).await
    }

    /// All rows in the store.
    #[must_use]
    pub fn rows(&self) -> Rows {
        read_back(&self.influxdb)
    }

    /// Publishes with `mosquitto_pub`.
    pub fn publish(&self, topic: &str, payload: &str) {
        let mut client = self.mosquitto.client("mosquitto_pub");
        client.args(["-q", "1", "-t", topic, "-m", payload]);
        let status = client.status().expect("mosquitto_pub");
        assert!(status.success(), "mosquitto_pub: {status}");
    }
}
