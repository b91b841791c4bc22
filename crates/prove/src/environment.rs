//! A running deployment under load, with a proxy on each of its connections.

mod backend;
mod finish;
mod proxies;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use common::clock::Clock;
use common::faults::Point;
use e2e::{Chain, Deployment, OneProcess, Role};
use fastrand::Rng;
use queue::ledger::{Counter, Ledger};
use testkit::{Launch, StageProcess, wait_until};
use tokio::runtime::Runtime;

use self::backend::Backend;
pub use self::proxies::Proxies;

use crate::build::fault_stage;
use crate::message::Epoch;
use crate::traffic::{Batch, Traffic};

/// How long a stage may take to be ready after its start.
const READY: Duration = Duration::from_secs(30);
/// How long a stage may take to exit after SIGTERM.
const EXIT_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest wait in a run that breaks a rule.
const BROKEN_RULE_LIMIT: Duration = Duration::from_secs(20);

/// How an environment is set up.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The deployment to start.
    pub deployment: Deployment,
    /// Determines every random choice.
    pub seed: u64,
    /// Additional settings of all stages.
    pub settings: Vec<(&'static str, String)>,
    /// Additional options of Redis.
    pub redis: Vec<String>,
    /// The data directory of Redis or of the single process, instead of a new one.
    pub dir: Option<PathBuf>,
    /// Environment variables of Redis.
    pub redis_env: Vec<(&'static str, String)>,
    /// Additional lines of the broker's configuration.
    pub mosquitto: Vec<&'static str>,
    /// A stage binary that breaks a rule, instead of one built from this tree.
    pub broken_binary: Option<PathBuf>,
}

impl Setup {
    /// The default setup.
    #[must_use]
    pub fn new(deployment: Deployment, seed: u64, broken_binary: Option<PathBuf>) -> Self {
        Self {
            deployment,
            seed,
            broken_binary,
            ..Self::default()
        }
    }

    /// Adds a setting of the stages.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }
}

/// A signal that a stage sends itself at a point of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct StopAt {
    /// The point.
    pub point: Point,
    /// `kill` or `stop`.
    pub signal: &'static str,
    /// How many times the stage reaches the point before it stops, this time included.
    pub occurrence: u64,
}

impl fmt::Display for StopAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.point.name();
        write!(f, "{name}:{}:{}", self.signal, self.occurrence)
    }
}

/// A running deployment and its load.
#[derive(Debug)]
pub struct Environment {
    /// The proxies on all connections.
    pub proxies: Proxies,
    /// The stages: one of each role, then standbys. Or the single process.
    pub stages: Vec<(Role, StageProcess)>,
    /// For random choices.
    pub rng: Rng,
    /// The time of the load's first row.
    pub epoch: Epoch,
    /// How often the single process's files were checked, and found intact.
    pub integrity_checks: usize,
    backend: Backend,
    setup: Setup,
    traffic: Option<Traffic>,
    runtime: Runtime,
}

impl Environment {
    /// Starts the servers and one stage of each role, or the single process, and waits until all are
    /// ready.
    pub fn start(setup: Setup) -> anyhow::Result<Self> {
        let mut environment = Self::without_stages(setup);
        for role in environment.roles() {
            environment.spawn(*role, None, &[]);
        }
        environment.ready()?;
        Ok(environment)
    }

    /// Starts the servers, or creates the single process's files, and no stage.
    #[must_use]
    pub fn without_stages(setup: Setup) -> Self {
        let (backend, proxies) = Backend::new(&setup);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        // No row of a long run is in the future, and none is too old to be accepted.
        let start = Clock::system()
            .now()
            .tick(Duration::from_secs(1))
            .minus(Duration::from_hours(2));
        Self {
            backend,
            proxies,
            stages: Vec::new(),
            rng: Rng::with_seed(setup.seed),
            epoch: Epoch(start),
            integrity_checks: 0,
            traffic: None,
            runtime,
            setup,
        }
    }

    /// The role of each process, by its index.
    #[must_use]
    pub fn roles(&self) -> &'static [Role] {
        self.setup.deployment.roles()
    }

    /// Whether the deployment is a single process.
    #[must_use]
    pub fn is_one_process(&self) -> bool {
        self.setup.deployment == Deployment::OneProcess
    }

    /// The servers. Panics on a single process.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        self.backend.chain()
    }

    /// The servers, to start and stop them. Panics on a single process.
    pub fn chain_mut(&mut self) -> &mut Chain {
        self.backend.chain_mut()
    }

    /// The single process's files. Panics on servers.
    #[must_use]
    pub fn one_process(&self) -> &OneProcess {
        self.backend.one_process()
    }

    /// Starts another stage and returns its index.
    pub fn spawn(&mut self, role: Role, stop: Option<StopAt>, extra: &[(&str, String)]) -> usize {
        let stage = self.launch(role, stop, extra).spawn();
        self.stages.push((role, stage));
        self.stages.len() - 1
    }

    /// Starts the stage at this index again after it has ended. Fails if the single process has left
    /// damaged files.
    pub fn respawn(&mut self, index: usize, stop: Option<StopAt>) -> anyhow::Result<()> {
        self.check_files()?;
        let role = self.stages[index].0;
        self.stages[index].1 = self.launch(role, stop, &[]).spawn();
        Ok(())
    }

    /// Has SQLite check every page of the single process's files, which may be running.
    pub fn check_files(&mut self) -> anyhow::Result<()> {
        if let Some(damage) = self.backend.damage() {
            bail!("seed {}: {damage}", self.setup.seed);
        }
        self.integrity_checks += usize::from(self.is_one_process());
        Ok(())
    }

    /// The command that starts a stage of this role.
    pub fn launch(&self, role: Role, stop: Option<StopAt>, extra: &[(&str, String)]) -> Launch {
        let binary = self.setup.broken_binary.clone().unwrap_or_else(fault_stage);
        let mut launch = Launch::binary(&binary).env("RIGLINE_STAGE", role.name());
        launch = self.backend.configure(launch, role, &self.proxies);
        for (name, value) in &self.setup.settings {
            launch = launch.env(name, value);
        }
        if let Some(stop) = stop {
            launch = launch.env("RIGLINE_POINT", &stop.to_string());
        }
        for (name, value) in extra {
            launch = launch.env(name, value);
        }
        launch
    }

    /// The stage at this index.
    pub fn stage(&mut self, index: usize) -> &mut StageProcess {
        &mut self.stages[index].1
    }

    /// Sends SIGTERM to the stage at this index. Fails unless it exits successfully.
    pub fn stop(&mut self, index: usize) -> anyhow::Result<()> {
        self.stage(index).terminate();
        self.ensure_clean_exit(index)
    }

    fn ensure_clean_exit(&mut self, index: usize) -> anyhow::Result<()> {
        let (role, stage) = &mut self.stages[index];
        let exit = stage.wait_exit(EXIT_TIMEOUT);
        ensure!(
            exit.is_some_and(|exit| exit.success()),
            "the {} ended with {exit:?}:\n{}",
            role.name(),
            stage.logs()
        );
        Ok(())
    }

    /// Whether `/readyz` of the stage at this index contains a string.
    #[must_use]
    pub fn reports(&self, index: usize, text: &str) -> bool {
        self.stages[index].1.get("/readyz").contains(text)
    }

    /// Whether the stage at this index reports that it holds its lease.
    #[must_use]
    pub fn holds_lease(&self, index: usize) -> bool {
        self.reports(index, r#""name":"lease","state":"up""#)
    }

    /// Waits until all stages report that they are ready.
    pub fn ready(&self) -> anyhow::Result<()> {
        for (role, stage) in &self.stages {
            ensure!(
                stage.ready(READY),
                "the {} isn't ready: {}\n{}",
                role.name(),
                stage.get("/readyz"),
                stage.logs()
            );
        }
        Ok(())
    }

    /// Starts the load.
    pub fn load(&mut self, pause: Duration, batches: impl Iterator<Item = Batch> + Send + 'static) {
        let port = self.proxies.load.port();
        let traffic = Traffic::start(self.setup.deployment, port, self.epoch, pause, batches);
        self.traffic = Some(traffic);
    }

    /// The running load.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        self.traffic.as_ref().expect("a load that was started")
    }

    /// Whether all batches are sent and acknowledged.
    #[must_use]
    pub fn load_has_ended(&self) -> bool {
        self.traffic.as_ref().is_none_or(Traffic::has_ended)
    }

    /// The queue's counters and lengths; fails if the queue doesn't answer.
    pub fn ledger(&self) -> anyhow::Result<Ledger> {
        self.runtime
            .block_on(self.backend.ledger())
            .context("cannot read the ledger")
    }

    /// Waits until a condition holds for the ledger, and returns that ledger.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&Ledger) -> bool,
    ) -> anyhow::Result<Ledger> {
        let limit = self.effective_limit(limit);
        let started = Instant::now();
        loop {
            let ledger = self.ledger();
            if let Ok(ledger) = &ledger
                && condition(ledger)
            {
                return Ok(ledger.clone());
            }
            ensure!(
                started.elapsed() < limit,
                "{what}: not within {limit:?}: {ledger:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The limit, or a shorter one: the condition may never hold in a run that breaks a rule.
    fn effective_limit(&self, limit: Duration) -> Duration {
        if self.setup.broken_binary.is_some() {
            limit.min(BROKEN_RULE_LIMIT)
        } else {
            limit
        }
    }

    /// Waits until the sink has stored this many more rows.
    pub fn wait_progress(&self, rows: i64, limit: Duration) -> anyhow::Result<()> {
        let stored = |ledger: &Ledger| ledger.get(Counter::RowsStored);
        let before = self
            .wait_for("an answer of the queue", limit, |_| true)
            .map(|ledger| stored(&ledger))?;
        self.wait_for("progress", limit, |ledger| stored(ledger) >= before + rows)?;
        Ok(())
    }
}

/// Waits until a condition holds.
pub fn until(what: &str, limit: Duration, condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    ensure!(wait_until(limit, condition), "{what}: not within {limit:?}");
    Ok(())
}
