//! A pipeline of the one process: its lists, its store and its stages.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use api::{AlertBoard, AlertWork, PipelineHistory, ServedPipeline};
use common::clock::Clock;
use common::harness::{self, Parts, Process};
use common::pipelines::Pipeline;
use ingester::decoder::{Decoder, MappedDecoder};
use model::pipeline::{At, StoreKind, StoreTable};
use model::{Layout, Row, topic};
use queue::settings::QueueSettings;
use queue::sqlite::SqliteQueue;
use sink::kafka::last_store;
use sink::stores::PipelineStore;
use sink::{NamedStore, Stores};
use store::{LatestStore, SqliteStore, Store, WriteError};
use transformer::settings::ShapeSettings;
use transport::{Inbox, Wants};

use super::data_dir::{QUEUE_FILE, STORE_FILE};
use super::observer::{Observed, Observer};
use super::settings::ServerSettings;
use crate::history;
use crate::revalidate::Revalidation;

/// A pipeline with its files open.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) pipeline: Pipeline,
    /// Where its files are: the data directory for `rigs`, otherwise a directory in it.
    dir: PathBuf,
    pub(super) queue: SqliteQueue,
    pub(super) stores: Vec<NamedStore<PartStore>>,
    /// What reads its rows: the first store from which they can be read.
    history: PipelineHistory,
    latest: Option<LatestStore>,
    lists: QueueSettings,
    alerts: AlertBoard,
    /// Messages that are posted to it.
    pub(super) inbox: Inbox,
}

/// Where a pipeline's rows go.
#[derive(Debug, Clone)]
pub(super) enum PartStore {
    /// The file of its directory.
    Sqlite(SqliteStore),
    /// A server.
    Server(PipelineStore),
}

impl Store for PartStore {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        match self {
            Self::Sqlite(store) => store.write(rows).await,
            Self::Server(store) => store.write(rows).await,
        }
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        match self {
            Self::Sqlite(store) => store.preflight().await,
            Self::Server(store) => store.preflight().await,
        }
    }
}

impl Part {
    /// Opens a pipeline's files in the data directory, and creates them if needed.
    pub(super) fn open(
        data: &Path,
        pipeline: &Pipeline,
        settings: &ServerSettings,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let (dir, lists) = match pipeline {
            Pipeline::Rigs(_) => (data.to_owned(), settings.queue()),
            Pipeline::File(file) => (
                data.join(file.name.as_str()),
                settings.queue().of_pipeline(&file.name),
            ),
        };
        let mut create = std::fs::DirBuilder::new();
        create
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        warn_of_missing_file(&dir);
        let path = dir.join(QUEUE_FILE);
        let queue = SqliteQueue::open_alone(&path, &lists, clock)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let stores = open_stores(&dir, pipeline, lists.layout, settings, clock)?;
        let history = history(&stores, pipeline, settings)?;
        Ok(Self {
            pipeline: pipeline.clone(),
            dir,
            queue,
            stores,
            history,
            latest: history::latest(settings.store_defaults(), pipeline)?,
            lists,
            alerts: AlertBoard::of(pipeline),
            inbox: Inbox::default(),
        })
    }

    /// The files that have to stay where they are.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.dir.join(QUEUE_FILE)];
        if self.has_store_file() {
            files.push(self.dir.join(STORE_FILE));
        }
        files
    }

    /// Whether its rows go to a file of its directory.
    pub(super) fn has_store_file(&self) -> bool {
        let is_file = |store: &NamedStore<PartStore>| matches!(store.store, PartStore::Sqlite(_));
        self.stores.iter().any(is_file)
    }

    /// What the API reads of it.
    pub(super) fn served(&self, settings: &ServerSettings) -> ServedPipeline {
        ServedPipeline {
            pipeline: self.pipeline.clone(),
            lists: queue::Lists::Sqlite(self.queue.clone()),
            stages: Arc::new(match &self.pipeline {
                Pipeline::Rigs(_) => Revalidation::of_rigs(settings.readings),
                Pipeline::File(file) => Revalidation::of_file(file),
            }),
            history: self.history.clone(),
            latest: self.latest.clone(),
            alerts: self.alerts.clone(),
            inbox: Some(self.inbox.clone()),
        }
    }

    /// Which topics of the listener it wants; `None` if it has a source of its own.
    pub(super) fn wants(&self) -> Option<Wants> {
        let file = match &self.pipeline {
            Pipeline::Rigs(_) => return Some(Box::new(topic::fits)),
            Pipeline::File(file) => file,
        };
        let template = file.source.topic.as_deref().cloned()?;
        let is_own = file.source.url.is_none();
        is_own.then(|| -> Wants { Box::new(move |topic| template.matches(topic).is_some()) })
    }

    /// How its messages are decoded.
    pub(super) fn ingester(&self, settings: &ServerSettings) -> ingester::settings::Work {
        let decoder = match &self.pipeline {
            Pipeline::Rigs(_) => Decoder::Rigs(settings.readings),
            Pipeline::File(file) => Decoder::Mapped(Box::new(MappedDecoder::new(file))),
        };
        ingester::settings::Work {
            decoder,
            queue: self.lists.clone(),
        }
    }

    /// The observer, if the pipeline is the one that it observes.
    pub(super) fn observer(
        &self,
        observer: Option<&Arc<dyn Observer>>,
    ) -> Option<Arc<dyn Observer>> {
        observer
            .filter(|_| matches!(self.pipeline, Pipeline::Rigs(_)))
            .cloned()
    }

    /// Starts its transformer and its sink.
    pub(super) fn start(
        &self,
        settings: &ServerSettings,
        observer: Option<&Arc<dyn Observer>>,
        process: &Process,
        stages: &mut Parts,
    ) -> anyhow::Result<()> {
        let lists = self.lists.clone();
        let work = match &self.pipeline {
            Pipeline::Rigs(_) => transformer::settings::Work {
                shape: ShapeSettings::Pivot(settings.rows.clone()),
                times: settings.readings.times.limits(),
                queue: lists.clone(),
            },
            Pipeline::File(file) => transformer::settings::Work::of_file(file, lists.clone()),
        };
        let queue = self.queue.clone();
        let transformer = self.process(process, "transformer");
        stages.spawn(transformer::run(work, queue.clone(), transformer));
        let process = self.process(process, "sink");
        let wrap = |NamedStore { name, store }: NamedStore<PartStore>| {
            let observer = self.observer(observer);
            let store = Observed {
                inner: store,
                observer,
            };
            NamedStore { name, store }
        };
        let stores = Stores {
            merging: self.stores.iter().cloned().map(wrap).collect(),
            transactional: match &self.pipeline {
                Pipeline::Rigs(_) => None,
                Pipeline::File(file) => last_store(file, &settings.kafka)?,
            },
        };
        stages.spawn(sink::run(lists, queue, stores, process));
        Ok(())
    }

    /// Starts the evaluation of its alerts, if its file has any.
    pub(super) fn start_alerts(
        &self,
        settings: &ServerSettings,
        process: &Process,
        stages: &mut Parts,
    ) {
        if self.alerts.is_empty() {
            return;
        }
        let work = AlertWork {
            pipeline: self.pipeline.name().to_owned(),
            queue: self.lists.clone(),
            board: self.alerts.clone(),
            stages: process.health.clone(),
            webhook_tls: settings.api.webhook_tls(),
        };
        let (queue, history) = (self.queue.clone(), self.history.clone());
        let process = self.process(process, "alerts");
        stages.spawn(api::run_alerts(work, queue, history, process));
    }

    /// The context of one of its stages.
    pub(super) fn process(&self, process: &Process, stage: &str) -> Process {
        process.for_stage(harness::stage_name(stage, self.pipeline.name()))
    }
}

fn open_stores(
    dir: &Path,
    pipeline: &Pipeline,
    layout: Layout,
    settings: &ServerSettings,
    clock: Clock,
) -> anyhow::Result<Vec<NamedStore<PartStore>>> {
    let open_file = || -> anyhow::Result<PartStore> {
        let path = dir.join(STORE_FILE);
        let store = SqliteStore::open(&path, &settings.store, layout, clock)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(PartStore::Sqlite(store))
    };
    let file = match pipeline {
        Pipeline::File(file) if !file.store.is_empty() => file,
        Pipeline::Rigs(_) | Pipeline::File(_) => {
            let name = StoreKind::Sqlite.name().to_owned();
            let store = open_file()?;
            return Ok(vec![NamedStore { name, store }]);
        }
    };
    let tables = file.store_names().into_iter().zip(&file.store);
    let open = |(name, table): (String, &At<StoreTable>)| {
        let store = match table.kind {
            StoreKind::Sqlite => open_file()?,
            StoreKind::Influx
            | StoreKind::Mongodb
            | StoreKind::Postgres
            | StoreKind::RedisLatest => {
                let table = Some(&**table);
                let defaults = settings.store_defaults();
                PartStore::Server(PipelineStore::of_table(defaults, file, table, clock)?)
            }
            // The sink opens it.
            StoreKind::Kafka => return Ok(None),
        };
        Ok(Some(NamedStore { name, store }))
    };
    let opened = tables.map(open);
    opened.filter_map(Result::transpose).collect()
}

/// What reads the rows of the first store from which they can be read.
fn history(
    stores: &[NamedStore<PartStore>],
    pipeline: &Pipeline,
    settings: &ServerSettings,
) -> anyhow::Result<PipelineHistory> {
    let is_on_server = match pipeline {
        Pipeline::Rigs(_) => false,
        Pipeline::File(file) => {
            let kind = file.history_place().map(|place| file.store[place].kind);
            !file.store.is_empty() && kind != Some(StoreKind::Sqlite)
        }
    };
    let file = stores.iter().find_map(|store| match &store.store {
        PartStore::Sqlite(store) => Some(store),
        PartStore::Server(_) => None,
    });
    match file {
        Some(store) if !is_on_server => Ok(PipelineHistory::Sqlite(store.history())),
        _ => history::on_server(&settings.influx, pipeline),
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
