//! Settings of `up`, most of which `demo` shares.

use std::path::PathBuf;
use std::time::Duration;

use api::ApiSettings;
use clap::Args;
use common::pipelines::{Pipeline, PipelineSettings};
use common::settings::{BadSetting, KafkaTls, MqttTls, RedisSettings, Settings, path, written};
use ingester::settings::ReadingLimits;
use queue::settings::{QueueLimits, QueueSettings};
use sink::from_file::{StoreDefaults, check_servers};
use store::{DEFAULT_RETENTION, InfluxSettings, SqliteSettings};
use transformer::settings::RowSettings;
use transport::{HttpSettings, HttpStreamTls, ListenSettings, MqttVersion};

/// The default data directory.
pub const DEFAULT_DIR: &str = "./rigline-data";

/// All settings of `up`.
#[derive(Debug, Clone, Args)]
pub struct UpSettings {
    /// Data directory, created if needed; used by one process at a time
    #[arg(long, env = "RIGLINE_DATA", default_value = DEFAULT_DIR, value_name = "DIR", value_parser = path())]
    pub data: PathBuf,
    /// The settings that `demo` shares.
    #[command(flatten)]
    pub server: ServerSettings,
}

impl Settings for UpSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        let given = !self.data.as_os_str().is_empty();
        BadSetting::unless(
            given,
            "RIGLINE_DATA (--data)",
            "",
            "the path of a directory",
        )?;
        self.server.check()
    }
}

/// Settings of listener, stages, queue and store in one process.
#[derive(Debug, Clone, Args)]
pub struct ServerSettings {
    /// The pipelines.
    #[command(flatten)]
    pub pipelines: PipelineSettings,
    /// The listener.
    #[command(flatten)]
    pub listen: ListenSettings,
    /// Limits of a reading.
    #[command(flatten)]
    pub readings: ReadingLimits,
    /// How rows are made.
    #[command(flatten)]
    pub rows: RowSettings,
    /// Sizes of batches and lists.
    #[command(flatten)]
    pub limits: QueueLimits,
    /// The store.
    #[command(flatten)]
    pub store: SqliteSettings,
    /// The HTTP API.
    #[command(flatten)]
    pub api: ApiSettings,
    /// Version of MQTT to speak to a broker. 5 tells why the broker refuses something, and its limits
    #[arg(
        long,
        env = "MQTT_VERSION",
        value_enum,
        default_value_t,
        help_heading = "MQTT"
    )]
    pub mqtt_version: MqttVersion,
    /// TLS of pipelines whose source is a broker.
    #[command(flatten)]
    pub broker_tls: MqttTls,
    /// The Redis of pipelines whose source or store is one.
    #[command(flatten)]
    pub redis: RedisSettings,
    /// The listener of pipelines whose source is HTTP.
    #[command(flatten)]
    pub http: HttpSettings,
    /// What is trusted at https, of streams that are read.
    #[command(flatten)]
    pub streams: HttpStreamTls,
    /// TLS of pipelines whose source or store is Kafka.
    #[command(flatten)]
    pub kafka: KafkaTls,
    /// The InfluxDB of pipelines whose store is one.
    #[command(flatten)]
    pub influx: InfluxSettings,
}

impl ServerSettings {
    /// Whether clients need a user name and a password.
    #[must_use]
    pub fn requires_login(&self) -> bool {
        let users = self.listen.mqtt_users.as_ref();
        users.is_some_and(|path| !path.as_os_str().is_empty()) && !self.listen.allow_anonymous
    }

    /// The servers of stores that files don't name.
    pub(super) const fn store_defaults(&self) -> StoreDefaults<'_> {
        StoreDefaults {
            influx: &self.influx,
            redis: &self.redis,
            kafka: Some(&self.kafka),
        }
    }

    fn check_stores(&self) -> Result<(), BadSetting> {
        for pipeline in self.pipelines.all() {
            if let Pipeline::File(file) = pipeline {
                check_servers(self.store_defaults(), file)?;
            }
        }
        Ok(())
    }

    /// The settings of the lists, which have their default names.
    #[must_use]
    pub fn queue(&self) -> QueueSettings {
        QueueSettings::with_default_names(self.limits)
    }
}

impl Settings for ServerSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.pipelines.check()?;
        self.listen.check()?;
        self.api.check()?;
        self.http.check()?;
        self.redis.check()?;
        self.influx.check()?;
        ingester::settings::check_sources(&self.kafka, &self.streams, self.pipelines.all())?;
        self.check_stores()?;
        self.rows.check()?;
        self.limits.check()?;
        self.store.check()?;
        let (kept, oldest) = (self.store.retention, self.readings.times.max_age);
        // Otherwise rows of accepted readings would be deleted at once.
        if kept == Duration::ZERO || kept >= oldest {
            return Ok(());
        }
        // The defaults fit each other, so the one that was changed is named.
        Err(if kept == DEFAULT_RETENTION {
            let accepted = format!(
                "at most RETENTION, which is {}: raise it, too, or set it to 0 (for ever)",
                written(kept)
            );
            BadSetting::new("MAX_AGE (--max-age)", &written(oldest), &accepted)
        } else {
            let accepted = format!(
                "0 (for ever), or at least MAX_AGE, which is {}: lower it, too",
                written(oldest)
            );
            BadSetting::new("RETENTION (--retention)", &written(kept), &accepted)
        })
    }
}
