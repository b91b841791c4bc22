//! The lists that are looked at: in a data directory, or in Redis.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use common::clock::Clock;
use common::settings::{Settings, path};
use queue::redis::RedisQueue;
use queue::settings::{QueueSettings, RedisSettings};
use queue::sqlite::SqliteQueue;
use queue::{DeadLetterEntry, DeadLetters, Queue, QueueError, Replay, Replayed, Snapshot};

use crate::up::{DEFAULT_DIR, QUEUE_FILE};

/// Which lists to look at.
#[derive(Debug, Clone, Args)]
pub struct Where {
    /// Data directory of `rigline up` [default: ./rigline-data, unless Redis is meant]
    #[arg(long, env = "RIGLINE_DATA", value_name = "DIR", value_parser = path())]
    data: Option<PathBuf>,
    /// Snapshot into Redis instead; also meant when `REDIS_HOST` is set and no directory is given
    #[arg(long)]
    redis: bool,
    /// Names and limits of the lists.
    #[command(flatten)]
    queue: QueueSettings,
    /// Where Redis is.
    #[command(flatten)]
    server: RedisSettings,
}

/// What is to be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing is changed.
    Read,
    /// Dead letters are marked, and elements appended.
    Replay,
}

/// The lists.
#[derive(Debug)]
pub enum Lists {
    /// Those of `rigline up`.
    File(SqliteQueue, PathBuf),
    /// Those of the four stages.
    Redis(RedisQueue, String),
}

impl Where {
    /// Opens them.
    pub fn open(mut self, purpose: Purpose) -> anyhow::Result<Lists> {
        let asks_redis = self.redis || std::env::var_os("REDIS_HOST").is_some();
        if self.data.is_none() && asks_redis {
            self.queue.check()?;
            self.server.check()?;
            let name = format!("{}:{}", self.server.redis_host, self.server.redis_port);
            let queue = RedisQueue::new(&self.queue, &self.server).context("cannot use Redis")?;
            return Ok(Lists::Redis(queue, name));
        }
        let dir = self.data.unwrap_or_else(|| PathBuf::from(DEFAULT_DIR));
        let path = dir.join(QUEUE_FILE);
        let queue = open_file(&path, &self.queue, purpose)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Lists::File(queue, path))
    }
}

fn open_file(
    path: &Path,
    settings: &QueueSettings,
    purpose: Purpose,
) -> Result<SqliteQueue, QueueError> {
    let clock = Clock::system();
    // Also before a change: it says so if there is no file, where the other would make one.
    let snapshot = SqliteQueue::open_read_only(path, settings, clock)?;
    match purpose {
        Purpose::Read => Ok(snapshot),
        Purpose::Replay => SqliteQueue::open(path, settings, clock),
    }
}

impl Lists {
    /// Where they are, for people.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::File(_, path) => path.display().to_string(),
            Self::Redis(_, address) => format!("Redis at {address}"),
        }
    }

    /// Counters and lengths of one moment.
    pub async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let snapshot = match self {
            Self::File(queue, _) => queue.snapshot().await,
            Self::Redis(queue, _) => queue.snapshot().await,
        };
        snapshot.with_context(|| format!("cannot read {}", self.place()))
    }

    /// See [`DeadLetters::letters`].
    pub async fn dead_letters(
        &self,
        skip: usize,
        max: usize,
    ) -> anyhow::Result<Vec<DeadLetterEntry>> {
        let letters = match self {
            Self::File(queue, _) => queue.dead_letters(skip, max).await,
            Self::Redis(queue, _) => queue.dead_letters(skip, max).await,
        };
        letters.with_context(|| format!("cannot read {}", self.place()))
    }

    /// See [`DeadLetters::replay`].
    pub async fn replay(&self, replay: &Replay) -> anyhow::Result<Replayed> {
        let replayed = match self {
            Self::File(queue, _) => queue.replay(replay).await,
            Self::Redis(queue, _) => queue.replay(replay).await,
        };
        replayed.with_context(|| format!("cannot write to {}", self.place()))
    }
}
