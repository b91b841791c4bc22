//! Settings of queues.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use common::secret::Secret;
use common::settings::{self, BadSetting, Settings};

/// The lists' names and limits, the same for every kind of queue.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Queue")]
pub struct QueueSettings {
    /// List of readings
    #[arg(long, env = "RAW_QUEUE", default_value = RAW, value_parser = settings::not_empty)]
    pub raw_queue: String,
    /// List of rows
    #[arg(long, env = "NORMALIZED_QUEUE", default_value = NORMALIZED, value_parser = settings::not_empty)]
    pub normalized_queue: String,
    /// List of inputs that can't be used
    #[arg(long, env = "DEAD_LETTER_QUEUE", default_value = DEAD, value_parser = settings::not_empty)]
    pub dead_letter_queue: String,
    /// Name of this pipeline; every key but the lists starts with rigline:NAME:
    #[arg(long, env = "PIPELINE", default_value = PIPELINE, value_parser = settings::not_empty)]
    pub pipeline: String,
    /// How long a replica that stopped answering keeps its lease
    #[arg(long, env = "LEASE", default_value = "3s", value_parser = settings::positive_duration)]
    pub lease: Duration,
    /// How much at once, and how much at all.
    #[command(flatten)]
    pub limits: QueueLimits,
}

impl QueueSettings {
    /// The usual names and the usual lease, for a queue that has no others.
    #[must_use]
    pub fn with_default_names(limits: QueueLimits) -> Self {
        Self {
            raw_queue: RAW.into(),
            normalized_queue: NORMALIZED.into(),
            dead_letter_queue: DEAD.into(),
            pipeline: PIPELINE.into(),
            lease: USUAL_LEASE,
            limits,
        }
    }
}

const RAW: &str = "raw_events";
const NORMALIZED: &str = "normalized_events";
const DEAD: &str = "dead_letters";
const PIPELINE: &str = "rigs";
const USUAL_LEASE: Duration = Duration::from_secs(3);

/// How much at once, and how much at all.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Queue")]
pub struct QueueLimits {
    /// Most elements handled at once
    #[arg(long, env = "BATCH", default_value = "5000", value_parser = settings::count)]
    pub batch: usize,
    /// Elements at which a list of readings or rows counts as full
    #[arg(long, env = "QUEUE_LIMIT", default_value = "1000000", value_parser = settings::count)]
    pub queue_limit: usize,
    /// Most dead letters kept; the oldest go first
    #[arg(long, env = "DEAD_LETTER_LIMIT", default_value = "100000", value_parser = settings::count)]
    pub dead_letter_limit: usize,
    /// Most bytes of dead letters kept
    #[arg(long, env = "DEAD_LETTER_BYTES", default_value = "256MiB", value_parser = settings::bytes)]
    pub dead_letter_bytes: usize,
}

/// The largest batch: a commit's arguments stay well within what Redis takes at once.
const MAX_BATCH: usize = 100_000;
/// The shortest lease: below it, ordinary pauses of a busy machine would lose it.
const MIN_LEASE: Duration = Duration::from_millis(100);

impl Settings for QueueSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        let lists = [
            ("RAW_QUEUE", &self.raw_queue),
            ("NORMALIZED_QUEUE", &self.normalized_queue),
            ("DEAD_LETTER_QUEUE", &self.dead_letter_queue),
        ];
        for (place, (variable, name)) in lists.iter().enumerate() {
            let taken = lists[..place].iter().any(|(_, other)| other == name);
            BadSetting::unless(!taken, variable, name, "a name that no other list has")?;
            let own = format!("rigline:{}:", self.pipeline);
            let accepted = format!("a name that doesn't start with {own}");
            BadSetting::unless(!name.starts_with(&own), variable, name, &accepted)?;
        }
        let lease = format!("{:?}", self.lease);
        BadSetting::unless(self.lease >= MIN_LEASE, "LEASE", &lease, "100ms or longer")?;
        self.limits.check()
    }
}

impl Settings for QueueLimits {
    fn check(&mut self) -> Result<(), BadSetting> {
        let batch = self.batch.to_string();
        BadSetting::unless(self.batch <= MAX_BATCH, "BATCH", &batch, "1 to 100000")
    }
}

/// Where Redis is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisSettings {
    /// Host of Redis
    #[arg(long, env = "REDIS_HOST", default_value = "localhost", value_parser = settings::not_empty)]
    pub redis_host: String,
    /// Port of Redis
    #[arg(long, env = "REDIS_PORT", default_value_t = 6379, value_parser = clap::value_parser!(u16).range(1..))]
    pub redis_port: u16,
    /// User, where Redis has users
    #[arg(long, env = "REDIS_USERNAME")]
    pub redis_username: Option<String>,
    /// Password, where Redis wants one
    #[arg(
        long,
        env = "REDIS_PASSWORD",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub redis_password: Option<Secret>,
    /// File that holds the password
    #[arg(long, env = "REDIS_PASSWORD_FILE", value_name = "PATH", value_parser = settings::path())]
    pub redis_password_file: Option<PathBuf>,
}

impl Settings for RedisSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        let (given, file) = (&mut self.redis_password, &mut self.redis_password_file);
        Secret::resolve("REDIS_PASSWORD", given, file)?;
        self.redis_username = self.redis_username.take().filter(|user| !user.is_empty());
        let user = self.redis_username.clone().unwrap_or_default();
        let ok = user.is_empty() || self.redis_password.is_some();
        BadSetting::unless(ok, "REDIS_USERNAME", &user, "a user with REDIS_PASSWORD")
    }
}
