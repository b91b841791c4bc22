//! Settings of the SQLite store.

use std::time::Duration;

use common::settings::{BadSetting, Settings, duration};

/// Shortest retention: below it, rows would be deleted before anyone reads them.
const SHORTEST: Duration = Duration::from_hours(1);

/// The default retention.
pub const DEFAULT_RETENTION: Duration = Duration::from_hours(30 * 24);

/// The store in the data directory.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Store")]
pub struct SqliteSettings {
    /// How long rows are kept, counted from their tick; 0 keeps them for ever
    #[arg(
        long,
        env = "RETENTION",
        value_name = "DURATION",
        default_value = "30d",
        value_parser = duration
    )]
    pub retention: Duration,
}

impl Settings for SqliteSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        BadSetting::unless(
            self.retention.is_zero() || self.retention >= SHORTEST,
            "RETENTION",
            &format!("{:?}", self.retention),
            "1h or longer, or 0 to keep rows for ever",
        )
    }
}
