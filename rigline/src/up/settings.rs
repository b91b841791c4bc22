//! What the one process can be told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use common::settings::{BadSetting, Settings, path};
use ingester::settings::ReadingLimits;
use queue::settings::{QueueLimits, QueueSettings};
use store::SqliteSettings;
use transformer::settings::RowSettings;
use transport::ListenSettings;

/// Where the data is unless told otherwise.
pub const DEFAULT_DIR: &str = "./rigline-data";

/// Everything that `up` can be told.
#[derive(Debug, Clone, Args)]
pub struct UpSettings {
    /// Directory of the data, made if it isn't there; one process at a time
    #[arg(long, env = "RIGLINE_DATA", default_value = DEFAULT_DIR, value_name = "DIR", value_parser = path())]
    pub data: PathBuf,
    /// What is done with it.
    #[command(flatten)]
    pub plant: PlantSettings,
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
        self.plant.check()
    }
}

/// What the parts in the one process go by.
#[derive(Debug, Clone, Args)]
pub struct PlantSettings {
    /// Where devices publish to.
    #[command(flatten)]
    pub listen: ListenSettings,
    /// What a reading may be.
    #[command(flatten)]
    pub readings: ReadingLimits,
    /// How rows are made.
    #[command(flatten)]
    pub rows: RowSettings,
    /// How much at once, and how much at all.
    #[command(flatten)]
    pub limits: QueueLimits,
    /// How long rows are kept.
    #[command(flatten)]
    pub store: SqliteSettings,
}

impl PlantSettings {
    /// Whether who publishes has to give a name and a password.
    #[must_use]
    pub fn wants_login(&self) -> bool {
        let users = self.listen.mqtt_users.as_ref();
        users.is_some_and(|path| !path.as_os_str().is_empty()) && !self.listen.allow_anonymous
    }

    /// Those of the lists, which have their usual names here.
    #[must_use]
    pub fn queue(&self) -> QueueSettings {
        QueueSettings::with_default_names(self.limits)
    }
}

impl Settings for PlantSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.listen.check()?;
        self.rows.check()?;
        self.limits.check()?;
        self.store.check()?;
        let (kept, oldest) = (self.store.retention, self.readings.times.max_age);
        // What is acknowledged must not be gone at once.
        BadSetting::unless(
            kept == Duration::ZERO || kept >= oldest,
            "RETENTION",
            &format!("{kept:?}"),
            &format!("0 (for ever), or at least MAX_AGE, which is {oldest:?}: lower it, too"),
        )
    }
}
