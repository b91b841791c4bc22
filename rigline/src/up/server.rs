//! The listener, queue, store and stages of one process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;

use anyhow::{Context, bail};
use common::clock::Clock;
use common::harness::Process;
use queue::sqlite::SqliteQueue;
use store::{SqliteStore, Store};
use tokio::task::JoinSet;
use transport::{Listener, Listening, Source};

use super::data_dir::{DataDir, QUEUE_FILE, STORE_FILE};
use super::settings::ServerSettings;

/// Open files besides the connections, with some to spare.
const OTHER_FILES: u64 = 64;

/// A listener, a queue and a store that are open, and the settings of their stages.
#[derive(Debug)]
pub struct Server {
    settings: ServerSettings,
    queue: SqliteQueue,
    store: SqliteStore,
    listener: Listener,
    /// Locked until all stages have ended.
    dir: DataDir,
}

impl Server {
    /// Opens the listener's socket and the files in the directory, which it creates if needed.
    pub async fn open(
        dir: DataDir,
        settings: &ServerSettings,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        raise_file_limit(settings.listen.mqtt_max_connections);
        // First, because the most common error is a broker on the same port.
        let listener = Listener::bind(&settings.listen).await?;
        warn_of_missing_file(dir.path());
        let path = dir.path().join(QUEUE_FILE);
        let queue = SqliteQueue::open_alone(&path, &settings.queue(), clock)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let path = dir.path().join(STORE_FILE);
        let store = SqliteStore::open(&path, &settings.store, clock)
            .with_context(|| format!("cannot open {}", path.display()))?;
        dir.sync().context("cannot write to the data directory")?;
        Ok(Self {
            settings: settings.clone(),
            queue,
            store,
            listener,
            dir,
        })
    }

    /// The address that devices publish to.
    #[must_use]
    pub fn listens_on(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Whether clients need a user name and a password.
    #[must_use]
    pub fn requires_login(&self) -> bool {
        self.settings.requires_login()
    }

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The lists.
    #[must_use]
    pub const fn queue(&self) -> &SqliteQueue {
        &self.queue
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> SqliteStore {
        self.store.clone()
    }

    /// Runs the stages, with messages coming from what `source` makes of the listener's session and rows
    /// going to `store`, until the process stops and all stages have ended. If one stage ends early, the
    /// others are stopped.
    pub async fn run<S: Source + Sync>(
        self,
        source: impl Fn(Listening) -> S + Send + Sync + 'static,
        store: impl Store + 'static,
        process: &Process,
    ) -> anyhow::Result<()> {
        let Self {
            settings,
            queue,
            store: own_store,
            listener,
            dir,
        } = self;
        drop(own_store);
        let watch = dir.watch().context("cannot watch the data directory")?;
        let lists = settings.queue();
        let reload_users = listener.reload_users();
        let mut stages = JoinSet::new();
        let work = ingester::settings::Work {
            limits: settings.readings,
            queue: lists.clone(),
        };
        stages.spawn(ingester::run(
            work,
            queue.clone(),
            move |up| source(listener.start(up)),
            process.for_stage("ingester"),
        ));
        let work = transformer::settings::Work {
            rows: settings.rows,
            times: settings.readings.times,
            queue: lists.clone(),
        };
        let part = process.for_stage("transformer");
        stages.spawn(transformer::run(work, queue.clone(), part));
        stages.spawn(sink::run(lists, queue, store, process.for_stage("sink")));
        let ended = tokio::select! {
            ended = all(&mut stages, process) => ended,
            lost = watch.lost() => Err(lost.into()),
            never = on_reload(process, reload_users) => match never {},
            never = process.health.tick_for_ever() => match never {},
        };
        drop(dir);
        ended
    }
}

/// Calls `reload` at each SIGHUP.
async fn on_reload(process: &Process, reload: impl Fn()) -> Infallible {
    let mut signal = pin!(process.reload.notified());
    loop {
        signal.as_mut().await;
        // Before the file is read: a signal that comes meanwhile counts.
        signal.set(process.reload.notified());
        reload();
    }
}

/// Warns if one of the two files exists without the other.
fn warn_of_missing_file(dir: &Path) {
    let is_there = |name| dir.join(name).metadata().is_ok_and(|data| data.len() > 0);
    match (is_there(QUEUE_FILE), is_there(STORE_FILE)) {
        (true, false) => tracing::warn!(
            "{STORE_FILE} is missing or empty, but {QUEUE_FILE} isn't: stored rows are gone, the \
             ledger still counts them, and a new store is created"
        ),
        (false, true) => tracing::warn!(
            "{QUEUE_FILE} is missing or empty, but {STORE_FILE} isn't: waiting readings and rows \
             are gone, and the ledger starts from zero"
        ),
        (true, true) | (false, false) => {}
    }
}

/// Raises the limit of open files, since each connection takes a file descriptor.
fn raise_file_limit(connections: usize) {
    let wanted = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHER_FILES);
    let limit = rlimit::increase_nofile_limit(wanted);
    let allowed = *limit.as_ref().unwrap_or(&0);
    if allowed < wanted {
        let error = limit.err().map(|error| error.to_string());
        tracing::warn!(
            allowed,
            wanted,
            error,
            "the limit of open files is below what MQTT_MAX_CONNECTIONS needs: raise `ulimit -n`"
        );
    }
}

async fn all(stages: &mut JoinSet<anyhow::Result<()>>, process: &Process) -> anyhow::Result<()> {
    let mut result = Ok(());
    while let Some(ended) = stages.join_next().await {
        let ended = ended.context("a stage panicked").and_then(|ended| ended);
        let ended = match ended {
            Ok(()) if !process.stop.is_cancelled() => stage_ended_early(),
            ended => ended,
        };
        process.stop.cancel();
        result = result.and(ended);
    }
    result
}

fn stage_ended_early() -> anyhow::Result<()> {
    bail!("a stage ended without a stop")
}
