//! The transformer's settings.

use std::time::Duration;

use clap::Args;
use common::pipelines::PipelineSettings;
use common::settings::{self, BadSetting, Settings, TimeLimitSettings};
use model::Name;
use model::limits::TimeLimits;
use model::pipeline::Statistic;
use queue::settings::{QueueSettings, RedisSettings};

/// All settings of the transformer.
#[derive(Debug, Clone, Args)]
pub struct TransformerSettings {
    /// The pipelines.
    #[command(flatten)]
    pub pipelines: PipelineSettings,
    /// How rows are made.
    #[command(flatten)]
    pub rows: RowSettings,
    /// Limits of a reading's timestamp.
    #[command(flatten)]
    pub times: TimeLimitSettings,
    /// Names and limits of the lists.
    #[command(flatten)]
    pub queue: QueueSettings,
    /// The server of the lists.
    #[command(flatten)]
    pub redis: RedisSettings,
}

/// Settings of a pipeline that don't depend on the kind of queue.
#[derive(Debug, Clone)]
pub struct Work {
    /// How rows are made.
    pub shape: ShapeSettings,
    /// Limits of a reading's timestamp.
    pub times: TimeLimits,
    /// Names and limits of the lists.
    pub queue: QueueSettings,
}

/// How rows are made of samples.
#[derive(Debug, Clone)]
pub enum ShapeSettings {
    /// Readings of one series and one tick make a row.
    Pivot(RowSettings),
    /// The statistics of a window of time make a row.
    Window(WindowSettings),
    /// A sample makes a row.
    Sample(SampleSettings),
}

/// How rows are made of the readings of windows of time.
#[derive(Debug, Clone)]
pub struct WindowSettings {
    /// The length of a window; windows are aligned to 1970-01-01T00:00:00Z.
    pub every: Duration,
    /// What is computed of each field, with the names that stand for `{statistic}` in `names`.
    pub statistics: Vec<(String, Statistic)>,
    /// The names of a row's fields, with `{field}` and `{statistic}`.
    pub names: String,
    /// How much longer than for the window's end a row waits for readings, and for how long corrections
    /// are collected.
    pub grace: Duration,
    /// A window can be corrected until it ends this long before its series' newest time.
    pub late_window: Duration,
    /// The greatest age of a reading: for so long it is remembered which windows of a silent series were
    /// let go.
    pub max_age: Duration,
    /// The windows of a series are let go when it has been silent for this time.
    pub series_idle: Duration,
    /// Readings that are equal in field, time and value count once.
    pub dedupe: bool,
    /// Most readings of one field in one window.
    pub max_window_readings: usize,
    /// What devices can make grow. The fields of a row are its statistics.
    pub limits: RowLimits,
}

/// How rows are made of single samples.
#[derive(Debug, Clone)]
pub struct SampleSettings {
    /// Most fields of one row.
    pub max_row_fields: usize,
    /// Times are rounded down to this, because the store keeps no more; 0 keeps them exact.
    pub precision: Duration,
}

/// How rows are made from readings.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Rows")]
pub struct RowSettings {
    /// Timestamps are rounded down to this; 0 keeps them exact
    #[arg(long, env = "ALIGN", default_value = "1s", value_parser = settings::duration)]
    pub align: Duration,
    /// A partial row is emitted this long after its last reading arrived
    #[arg(long, env = "FLUSH_INTERVAL", default_value = "5s", value_parser = settings::positive_duration)]
    pub flush_interval: Duration,
    /// Emitted cells are remembered this far back from their rig's newest tick
    #[arg(long, env = "LATE_WINDOW", default_value = "60s", value_parser = settings::duration)]
    pub late_window: Duration,
    /// State of a rig without readings is deleted after this time
    #[arg(long, env = "RIG_IDLE", default_value = "1h", value_parser = settings::positive_duration)]
    pub rig_idle: Duration,
    /// The sensors that make a row complete
    #[arg(
        long,
        env = "EXPECTED_SENSORS",
        default_value = "temp_inlet,temp_outlet,pressure,flow_rate,voltage,current",
        value_delimiter = ',',
        value_name = "NAMES",
        value_parser = sensor
    )]
    pub expected_sensors: Vec<Name<'static>>,
    /// Most open rows; above it, the oldest is emitted
    #[arg(long, env = "MAX_OPEN_ROWS", default_value = "100000", value_parser = settings::count)]
    pub max_open_rows: usize,
    /// What devices can make grow.
    #[command(flatten)]
    pub limits: RowLimits,
}

/// Limits of what devices can make grow. A reading beyond one of them becomes a dead letter.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Rows")]
pub struct RowLimits {
    /// Most rigs at a time; an idle rig no longer counts
    #[arg(long, env = "MAX_SERIES", default_value = "100000", value_parser = settings::count)]
    pub max_series: usize,
    /// Most sensors at a time, over all rigs; one that is as idle as an idle rig no longer counts
    #[arg(long, env = "MAX_FIELDS", default_value = "1000", value_parser = settings::count)]
    pub max_fields: usize,
    /// Most sensors of one row
    #[arg(long, env = "MAX_ROW_FIELDS", default_value = "256", value_parser = settings::count)]
    pub max_row_fields: usize,
}

const SENSORS_FORMS: &str = "names of sensors with commas between them, none of them twice";

fn sensor(name: &str) -> Result<Name<'static>, String> {
    Name::sensor(name.trim().to_owned())
        .map_err(|error| format!("{SENSORS_FORMS}; this name {error}"))
}

impl Settings for TransformerSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.pipelines.check()?;
        self.rows.check()?;
        self.queue.check()?;
        self.redis.check()
    }
}

impl Settings for RowSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        for (place, sensor) in self.expected_sensors.iter().enumerate() {
            let is_new = !self.expected_sensors[..place].contains(sensor);
            let given: Vec<_> = self.expected_sensors.iter().map(|name| &**name).collect();
            BadSetting::unless(is_new, "EXPECTED_SENSORS", &given.join(","), SENSORS_FORMS)?;
        }
        let limits = [
            ("MAX_FIELDS", self.limits.max_fields),
            ("MAX_ROW_FIELDS", self.limits.max_row_fields),
        ];
        for (variable, limit) in limits {
            BadSetting::unless(
                limit >= self.expected_sensors.len(),
                variable,
                &limit.to_string(),
                "at least the number of EXPECTED_SENSORS",
            )?;
        }
        BadSetting::unless(
            self.rig_idle >= self.flush_interval,
            "RIG_IDLE",
            &format!("{:?}", self.rig_idle),
            "at least FLUSH_INTERVAL: a rig isn't forgotten while its rows wait",
        )
    }
}
