//! Opens the lists of a data directory or of Redis.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use common::clock::Clock;
use common::pipelines::{Pipeline, RIGS};
use common::settings::{BadSetting, Settings, path};
use model::Layout;
use queue::list::List;
use queue::redis::RedisQueue;
use queue::settings::{QueueLimits, QueueSettings, RedisSettings};
use queue::sqlite::SqliteQueue;
use queue::{DeadLetterEntry, DeadLetters, Kinds, QueueError, Replay, Replayed, Snapshot, Stretch};

use super::pipeline::chosen;
use super::stored::{check_exists, files_of};
use crate::up::{DEFAULT_DIR, QUEUE_FILE};

/// The lists to open.
#[derive(Debug, Clone, Args)]
pub struct Where {
    /// Data directory of `rigline up` [default: ./rigline-data, unless Redis is used]
    #[arg(long, env = "RIGLINE_DATA", value_name = "DIR", value_parser = path())]
    data: Option<PathBuf>,
    /// Use the lists in Redis. Also the default if `REDIS_HOST` is set and no directory is given
    #[arg(long)]
    redis: bool,
    /// Names and limits of the lists.
    #[command(flatten)]
    queue: QueueSettings,
    /// Where Redis is.
    #[command(flatten)]
    server: RedisSettings,
}

/// How the lists are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// They are only read.
    Read,
    /// Dead letters are replaced, and elements are appended.
    Change,
}

/// The open lists.
#[derive(Debug)]
pub struct Lists {
    lists: queue::Lists,
    /// Where they are, for messages.
    place: String,
}

impl Where {
    /// The pipeline whose lists these are.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.queue.pipeline
    }

    /// The lists of each of these pipelines, unless another one was asked for by its name.
    #[must_use]
    pub(crate) fn of_each(&self, pipelines: &[Pipeline]) -> Vec<Self> {
        if self.queue.pipeline != RIGS {
            return vec![self.clone()];
        }
        let of = |pipeline: &Pipeline| {
            let mut own = self.clone();
            pipeline.name().clone_into(&mut own.queue.pipeline);
            own
        };
        pipelines.iter().map(of).collect()
    }

    /// How the elements of the lists are written, once they are open.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.queue.layout
    }

    /// The limits of the lists.
    #[must_use]
    pub const fn limits(&self) -> QueueLimits {
        self.queue.limits
    }

    /// Whether the lists are in Redis.
    #[must_use]
    pub fn uses_redis(&self) -> bool {
        self.redis || (self.data.is_none() && std::env::var_os("REDIS_HOST").is_some())
    }

    /// The server, if the lists are in Redis.
    pub(crate) const fn server(&self) -> &RedisSettings {
        &self.server
    }

    /// Whether Redis is reached with TLS.
    pub(crate) const fn uses_tls(&self) -> bool {
        self.server.redis_tls
    }

    /// The data directory, if the lists aren't in Redis.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        let dir = self.data.clone();
        dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DIR))
    }

    /// The directory of the pipeline's files.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        files_of(&self.dir(), &self.queue.pipeline)
    }

    /// Checks the settings before a socket opens.
    pub fn check(&mut self) -> Result<(), BadSetting> {
        self.queue.check()?;
        self.server.check()
    }

    /// Opens the lists.
    pub async fn open(&mut self, purpose: Purpose) -> anyhow::Result<Lists> {
        self.queue.pipeline = chosen(&self.queue.pipeline)?;
        if self.uses_redis() {
            return self.open_redis().await;
        }
        if self.queue.pipeline != RIGS {
            self.queue = self.queue.of_pipeline(&self.queue.pipeline);
        }
        let path = self.files().join(QUEUE_FILE);
        check_exists(&path, "queue")?;
        let queue = open_file(&path, &self.queue, purpose)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Lists {
            lists: queue::Lists::Sqlite(queue),
            place: path.display().to_string(),
        })
    }

    /// Opens the lists in Redis.
    pub(crate) async fn open_redis(&mut self) -> anyhow::Result<Lists> {
        self.check()?;
        let name = format!("{}:{}", self.server.redis_host, self.server.redis_port);
        let open = |settings: &QueueSettings| {
            RedisQueue::new(settings, &self.server).context("cannot use Redis")
        };
        let mut queue = open(&self.queue)?;
        if self.queue.pipeline != RIGS {
            // PIPELINE also gives the built-in pipeline another name, and then RAW_QUEUE names its list.
            let owner = queue.owner(List::Raw).await;
            let owner = owner.with_context(|| format!("cannot read Redis at {name}"))?;
            if owner.as_ref() != Some(&self.queue.pipeline) {
                self.queue = self.queue.of_pipeline(&self.queue.pipeline);
                queue = open(&self.queue)?;
            }
        }
        Ok(Lists {
            lists: queue::Lists::Redis(queue),
            place: format!("Redis at {name}"),
        })
    }
}

fn open_file(
    path: &Path,
    settings: &QueueSettings,
    purpose: Purpose,
) -> Result<SqliteQueue, QueueError> {
    let clock = Clock::system();
    // Before a change, too: opening for reading fails if the file doesn't exist.
    let read_only = SqliteQueue::open_read_only(path, settings, clock)?;
    match purpose {
        Purpose::Read => Ok(read_only),
        Purpose::Change => SqliteQueue::open(path, settings, clock),
    }
}

impl Lists {
    /// The place of the lists, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// See [`Queue::snapshot`](queue::Queue::snapshot).
    pub async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        self.read(self.lists.snapshot().await)
    }

    /// Reads up to `max` elements of a list from the position `from` on, or the newest ones.
    pub async fn stretch(
        &self,
        list: List,
        from: Option<i64>,
        max: usize,
    ) -> anyhow::Result<Stretch> {
        self.read(self.lists.stretch(list, from, max).await)
    }

    /// The queue in Redis, if that is where they are.
    pub(crate) const fn redis(&self) -> Option<&RedisQueue> {
        match &self.lists {
            queue::Lists::Redis(queue) => Some(queue),
            queue::Lists::Sqlite(_) => None,
        }
    }

    /// See [`DeadLetters::dead_letters`].
    pub async fn dead_letters(
        &self,
        skip: usize,
        max: usize,
    ) -> anyhow::Result<Vec<DeadLetterEntry>> {
        self.read(self.lists.dead_letters(skip, max).await)
    }

    /// See [`DeadLetters::dead_letter_kinds`].
    pub async fn dead_letter_kinds(&self) -> anyhow::Result<Kinds> {
        self.read(self.lists.dead_letter_kinds().await)
    }

    /// See [`DeadLetters::replay`].
    pub async fn replay(&self, replay: &Replay) -> anyhow::Result<Replayed> {
        let replayed = self.lists.replay(replay).await;
        replayed.with_context(|| format!("cannot write to {}", self.place))
    }

    /// See [`DeadLetters::discard`].
    pub async fn discard(&self, entry: &DeadLetterEntry, left: &[u8]) -> anyhow::Result<bool> {
        let discarded = self.lists.discard(entry, left).await;
        discarded.with_context(|| format!("cannot write to {}", self.place))
    }

    fn read<T>(&self, result: Result<T, QueueError>) -> anyhow::Result<T> {
        result.with_context(|| format!("cannot read {}", self.place))
    }
}
