//! A pipeline with alerts, its store and its queue in temporary files, and the task that evaluates them.

use std::sync::Arc;
use std::time::Duration;

use api::{AlertBoard, AlertWork, Api, PipelineHistory, ServedPipeline};
use common::clock::Clock;
use common::harness::Process;
use common::health::{Dependency, Health};
use common::pipelines::Pipeline;
use common::tls::ClientTls;
use model::pipeline::PipelineFile;
use model::{Layout, Name, Row, Stage, Timestamp, Value};
use queue::settings::QueueSettings;
use queue::testing::TempQueue;
use queue::{Lists, Queue, State};
use serde_json::Value as Json;
use store::{SqliteSettings, SqliteStore, Store};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::fixture::{Digits, get_json, router};

/// How long to wait for an expected state.
const SOON: Duration = Duration::from_secs(20);
/// A killed process keeps its lease for this long.
const LEASE: Duration = Duration::from_secs(1);

/// The pipeline `p`, whose stages are up.
pub struct Alerts {
    pub queue: Arc<TempQueue>,
    pub store: SqliteStore,
    /// What the sink depends on.
    pub sink: Dependency,
    health: Health,
    file: Arc<PipelineFile>,
    board: AlertBoard,
    router: axum::Router,
    dir: Arc<TempDir>,
}

/// A running task; it is killed when this is dropped.
pub struct Running {
    process: Process,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Ends it at once, as SIGKILL does.
    pub fn kill(self) {
        self.task.abort();
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(mut self) {
        self.process.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The present second.
pub fn now() -> Timestamp {
    Clock::system().now()
}

fn settings() -> QueueSettings {
    QueueSettings {
        lease: LEASE,
        layout: Layout::Tagged,
        ..queue::testing::settings()
    }
}

impl Alerts {
    /// With these tables in the pipeline's file.
    pub fn new(tables: &str) -> Self {
        let text = format!("name = \"p\"\n[source]\ntopic = \"x/{{device}}\"\n{tables}");
        let file = PipelineFile::parse("p.toml", &text, &|_| None);
        let file = file.map_err(|error| error.to_string()).unwrap();
        let queue = Arc::new(TempQueue::new(settings()));
        let dir = Arc::new(TempDir::with_prefix("alerts-").unwrap());
        Self::open(queue, dir, Arc::new(file))
    }

    fn open(queue: Arc<TempQueue>, dir: Arc<TempDir>, file: Arc<PipelineFile>) -> Self {
        let kept = SqliteSettings {
            retention: Duration::ZERO,
        };
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path, &kept, Layout::Tagged, Clock::system()).unwrap();
        let health = Health::for_stage("up");
        let sink = health.add_stage("sink/p").dependency("store");
        sink.up();
        // Another pipeline doesn't matter.
        let _ = health.add_stage("sink/other").dependency("store");
        let pipeline = Pipeline::File(Arc::clone(&file));
        let board = AlertBoard::of(&pipeline);
        let served = ServedPipeline {
            pipeline,
            lists: Lists::Sqlite(queue.open()),
            history: PipelineHistory::Sqlite(store.history()),
            latest: None,
            stages: Arc::new(Digits),
            alerts: board.clone(),
            inbox: None,
        };
        let api = Api::new(vec![served], health.clone(), Clock::system());
        Self {
            queue,
            store,
            sink,
            health,
            file,
            board,
            router: router(api),
            dir,
        }
    }

    /// The same files in another process.
    pub fn restarted(self) -> Self {
        Self::open(self.queue, self.dir, self.file)
    }

    /// Starts the evaluation.
    pub fn start(&self) -> Running {
        self.start_on(self.queue.open())
    }

    /// Starts the evaluation with this handle of the queue.
    pub fn start_on<Q: Queue>(&self, queue: Q) -> Running {
        let process = Process {
            health: self.health.add_stage("alerts/p"),
            ..Process::default()
        };
        let work = AlertWork {
            pipeline: self.file.name.to_string(),
            queue: settings(),
            board: self.board.clone(),
            stages: self.health.clone(),
            webhook_tls: ClientTls::new("WEBHOOK"),
        };
        let history = self.store.history();
        let run = api::run_alerts(work, queue, history, process.clone());
        Running {
            task: tokio::spawn(run),
            process,
        }
    }

    /// Stores a row of a device.
    pub async fn store(&self, device: &'static str, time: Timestamp, value: f64) {
        self.store.write(&[row(device, time, value)]).await.unwrap();
    }

    /// Stores rows with the value 99, a millisecond apart.
    pub async fn store_many(&self, device: &'static str, first: Timestamp, count: u64) {
        let time = |place| first.plus(Duration::from_millis(place));
        let rows: Vec<_> = (0..count)
            .map(|place| row(device, time(place), 99.0))
            .collect();
        self.store.write(&rows).await.unwrap();
    }

    /// What the API shows.
    pub async fn get(&self) -> Json {
        get_json(&self.router, "/api/v1/pipelines/p/alerts").await
    }

    /// Waits until the API shows this.
    pub async fn wait_for(&self, what: &str, is_true: impl Fn(&Json) -> bool) -> Json {
        let started = Instant::now();
        loop {
            let shown = self.get().await;
            if is_true(&shown) {
                return shown;
            }
            assert!(started.elapsed() < SOON, "{what}: {shown:#}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The number of commits.
    pub async fn commits(&self) -> u64 {
        let progress = self.queue.open().progress(Stage::Alerts).await;
        progress.unwrap().number
    }

    /// The state in the queue.
    pub fn state(&self) -> State {
        self.queue.state_of(Stage::Alerts)
    }
}

fn row(device: &'static str, time: Timestamp, value: f64) -> Row<'static> {
    let name = |name: &'static str| Name::new(name).unwrap();
    Row {
        tags: vec![(name("device"), name(device))],
        timestamp: time,
        fields: vec![(name("t"), Value::Float(value))],
    }
}
