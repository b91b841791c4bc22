//! The parts, opened and put together.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail};
use common::clock::Clock;
use common::harness::Process;
use queue::sqlite::SqliteQueue;
use store::{SqliteStore, Store};
use tokio::task::JoinSet;
use transport::Listener;

use super::data_dir::{DataDir, QUEUE_FILE, STORE_FILE};
use super::settings::PlantSettings;

/// Files that are open beside the connections, and some to spare.
const OTHER_FILES: u64 = 64;

/// A queue, a store and a listener in one process, ready to be run.
#[derive(Debug)]
pub struct Plant {
    settings: PlantSettings,
    queue: SqliteQueue,
    store: SqliteStore,
    listener: Listener,
    /// Held as long as anything of this runs.
    dir: DataDir,
}

impl Plant {
    /// Opens the files in the directory, making them if need be, and the listener's socket.
    pub async fn open(
        dir: DataDir,
        settings: &PlantSettings,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        make_room_for(settings.listen.mqtt_max_connections);
        // First what fails at the commonest mistake: a broker that runs already.
        let listener = Listener::bind(&settings.listen).await?;
        warn_of_halves(dir.path());
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

    /// Whether who publishes has to give a name and a password.
    #[must_use]
    pub fn wants_login(&self) -> bool {
        self.settings.wants_login()
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

    /// Runs the stages, with rows going to `store`, until the process is told to stop, and returns
    /// when all have. One that ends by itself takes the others with it.
    pub async fn run(self, store: impl Store + 'static, process: &Process) -> anyhow::Result<()> {
        let Self {
            settings,
            queue,
            store: own_store,
            listener,
            dir,
        } = self;
        drop(own_store);
        let watch = dir
            .watch()
            .context("cannot look after the data directory")?;
        let lists = settings.queue();
        let mut stages = JoinSet::new();
        let work = ingester::settings::Work {
            limits: settings.readings,
            queue: lists.clone(),
        };
        stages.spawn(ingester::run(
            work,
            queue.clone(),
            move |up| listener.start(up),
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
            never = process.health.tick_for_ever() => match never {},
        };
        drop(dir);
        ended
    }
}

/// The two files belong together: one without the other was lost, or comes from elsewhere.
fn warn_of_halves(dir: &Path) {
    let is_there = |name| dir.join(name).metadata().is_ok_and(|data| data.len() > 0);
    match (is_there(QUEUE_FILE), is_there(STORE_FILE)) {
        (true, false) => tracing::warn!(
            "{STORE_FILE} is missing or empty beside a {QUEUE_FILE} that isn't: rows that were \
             stored are gone, the ledger still counts them, and a new store is made"
        ),
        (false, true) => tracing::warn!(
            "{QUEUE_FILE} is missing or empty beside a {STORE_FILE} that isn't: readings and rows \
             that waited are gone, and the ledger begins anew"
        ),
        (true, true) | (false, false) => {}
    }
}

/// Each connection takes a file descriptor, and the usual limit is that of an interactive program.
fn make_room_for(connections: usize) {
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
            "fewer files may be open than MQTT_MAX_CONNECTIONS needs: raise `ulimit -n`"
        );
    }
}

async fn all(stages: &mut JoinSet<anyhow::Result<()>>, process: &Process) -> anyhow::Result<()> {
    let mut result = Ok(());
    while let Some(ended) = stages.join_next().await {
        let ended = ended.context("a stage panicked").and_then(|ended| ended);
        let ended = match ended {
            Ok(()) if !process.stop.is_cancelled() => bail_by_itself(),
            ended => ended,
        };
        process.stop.cancel();
        result = result.and(ended);
    }
    result
}

fn bail_by_itself() -> anyhow::Result<()> {
    bail!("a stage ended by itself")
}
