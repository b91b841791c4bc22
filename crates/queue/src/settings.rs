//! Settings of queues.

use std::time::Duration;

use clap::Args;
pub use common::settings::RedisSettings;
use common::settings::{self, BadSetting, Settings};
use model::Layout;

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
    /// How the elements of its lists are written.
    #[arg(skip = Layout::Rigs)]
    pub layout: Layout,
    /// How long a replica that stopped answering keeps its lease
    #[arg(long, env = "LEASE", default_value = "3s", value_parser = settings::positive_duration)]
    pub lease: Duration,
    /// How much at once, and how much at all.
    #[command(flatten)]
    pub limits: QueueLimits,
}

impl QueueSettings {
    /// The settings of a pipeline that a file describes: lists of its own, the same lease and limits.
    #[must_use]
    pub fn of_pipeline(&self, name: &str) -> Self {
        Self {
            raw_queue: format!("{name}:{RAW}"),
            normalized_queue: format!("{name}:{NORMALIZED}"),
            dead_letter_queue: format!("{name}:{DEAD}"),
            pipeline: name.to_owned(),
            layout: Layout::Tagged,
            lease: self.lease,
            limits: self.limits,
        }
    }

    /// The usual names and the usual lease, for a queue that has no others.
    #[must_use]
    pub fn with_default_names(limits: QueueLimits) -> Self {
        Self {
            raw_queue: RAW.into(),
            normalized_queue: NORMALIZED.into(),
            dead_letter_queue: DEAD.into(),
            pipeline: PIPELINE.into(),
            layout: Layout::Rigs,
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
