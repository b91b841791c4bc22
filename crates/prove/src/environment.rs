//! Servers and stages, or one process that is all of them, and a load, with a wire that can be cut
//! between any two of them.

mod deployment;
mod proxies;
mod verdict;

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

use self::deployment::Base;
pub use self::proxies::Proxies;

use crate::build::fault_stage;
use crate::message::Epoch;
use crate::traffic::{Batch, Traffic};

/// How long a stage may take to be ready after its start.
const READY: Duration = Duration::from_secs(30);
/// How long a run that breaks a rule is waited for.
const BROKEN: Duration = Duration::from_secs(20);

/// How an environment is set up.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// What it stands on.
    pub deployment: Deployment,
    /// Decides every choice.
    pub seed: u64,
    /// Settings of all stages beyond the environment's own.
    pub settings: Vec<(&'static str, String)>,
    /// Redis's options beyond the usual.
    pub redis: Vec<String>,
    /// Where Redis, or the one process, keeps its data, if not in a directory of its own.
    pub dir: Option<PathBuf>,
    /// Redis's environment.
    pub redis_env: Vec<(String, String)>,
    /// Lines of the broker's configuration beyond the usual.
    pub mosquitto: Vec<&'static str>,
    /// Stages that break a rule, instead of this tree's.
    pub broken: Option<PathBuf>,
}

impl Setup {
    /// The usual one.
    #[must_use]
    pub fn new(deployment: Deployment, seed: u64, broken: Option<PathBuf>) -> Self {
        Self {
            deployment,
            seed,
            broken,
            ..Self::default()
        }
    }

    /// With one more setting of the stages.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }
}

/// What a stage does when it comes to a point.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// Where.
    pub point: Point,
    /// `kill` or `stop`.
    pub how: &'static str,
    /// At which time that it comes there.
    pub time: u64,
}

/// Everything that is running.
#[derive(Debug)]
pub struct Environment {
    /// What is between the parts.
    pub proxies: Proxies,
    /// The stages, one of each role at first; more are standbys. Or the one process.
    pub stages: Vec<(Role, StageProcess)>,
    /// For choices.
    pub rng: Rng,
    /// The load's first row.
    pub epoch: Epoch,
    /// How often the one process's files were looked at, and found in order.
    pub checks: usize,
    base: Base,
    setup: Setup,
    traffic: Option<Traffic>,
    runtime: Runtime,
}

impl Environment {
    /// Starts servers and one stage of each role, or the one process, and waits until they are ready.
    pub fn start(setup: Setup) -> anyhow::Result<Self> {
        let mut environment = Self::without_stages(setup);
        for role in environment.roles() {
            environment.spawn(*role, None, &[]);
        }
        environment.ready()?;
        Ok(environment)
    }

    /// Starts the servers, or makes the one process's files, and starts no stage.
    #[must_use]
    pub fn without_stages(setup: Setup) -> Self {
        let (base, proxies) = Base::new(&setup);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        // Old enough that no row of a long run is in the future, young enough to be accepted.
        let start = Clock::system()
            .now()
            .tick(Duration::from_secs(1))
            .minus(Duration::from_hours(2));
        Self {
            base,
            proxies,
            stages: Vec::new(),
            rng: Rng::with_seed(setup.seed),
            epoch: Epoch(start),
            checks: 0,
            traffic: None,
            runtime,
            setup,
        }
    }

    /// What each process is there for, in their places.
    #[must_use]
    pub fn roles(&self) -> &'static [Role] {
        self.setup.deployment.roles()
    }

    /// Whether it is the one process.
    #[must_use]
    pub fn is_one_process(&self) -> bool {
        self.setup.deployment == Deployment::OneProcess
    }

    /// The servers, which there have to be.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        self.base.chain()
    }

    /// The servers, to start and stop them.
    pub fn chain_mut(&mut self) -> &mut Chain {
        self.base.chain_mut()
    }

    /// The one process's files, which there have to be.
    #[must_use]
    pub fn one_process(&self) -> &OneProcess {
        self.base.one_process()
    }

    /// Starts another stage and returns its place.
    pub fn spawn(&mut self, role: Role, stop: Option<Stop>, extra: &[(&str, String)]) -> usize {
        let stage = self.launch(role, stop, extra).spawn();
        self.stages.push((role, stage));
        self.stages.len() - 1
    }

    /// Starts the stage at this place again, which has ended. Fails if the one process has left its
    /// files damaged.
    pub fn respawn(&mut self, place: usize, stop: Option<Stop>) -> anyhow::Result<()> {
        self.check_files()?;
        let role = self.stages[place].0;
        self.stages[place].1 = self.launch(role, stop, &[]).spawn();
        Ok(())
    }

    /// Has SQLite look at every page of the one process's files, also while it runs.
    pub fn check_files(&mut self) -> anyhow::Result<()> {
        if let Some(damage) = self.base.damage() {
            bail!("seed {}: damaged {damage}", self.setup.seed);
        }
        self.checks += usize::from(self.is_one_process());
        Ok(())
    }

    /// How a stage of this role is started.
    pub fn launch(&self, role: Role, stop: Option<Stop>, extra: &[(&str, String)]) -> Launch {
        let binary = self.setup.broken.clone().unwrap_or_else(fault_stage);
        let mut launch = Launch::binary(&binary).env("RIGLINE_STAGE", role.name());
        launch = self.base.lead(launch, role, &self.proxies);
        for (name, value) in &self.setup.settings {
            launch = launch.env(name, value);
        }
        if let Some(Stop { point, how, time }) = stop {
            launch = launch.env("RIGLINE_POINT", &format!("{}:{how}:{time}", point.name()));
        }
        for (name, value) in extra {
            launch = launch.env(name, value);
        }
        launch
    }

    /// The stage at this place.
    pub fn stage(&mut self, place: usize) -> &mut StageProcess {
        &mut self.stages[place].1
    }

    /// Whether the stage at this place says that it holds its lease.
    #[must_use]
    pub fn holds_lease(&self, place: usize) -> bool {
        let said = self.stages[place].1.get("/readyz");
        said.contains(r#""name":"lease","state":"up""#)
    }

    /// Waits until all stages say that they are ready.
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

    /// Whether all batches are out and acknowledged.
    #[must_use]
    pub fn load_is_over(&self) -> bool {
        self.traffic.as_ref().is_none_or(Traffic::is_over)
    }

    /// Counters and lengths of now; fails if the queue doesn't answer.
    pub fn ledger(&self) -> anyhow::Result<Ledger> {
        self.runtime
            .block_on(self.base.ledger())
            .context("no look at the queue")
    }

    /// Waits until the ledger is as it should be.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Ledger) -> bool,
    ) -> anyhow::Result<Ledger> {
        let limit = self.patience(limit);
        let started = Instant::now();
        loop {
            let ledger = self.ledger();
            if let Ok(ledger) = &ledger
                && is_so(ledger)
            {
                return Ok(ledger.clone());
            }
            ensure!(
                started.elapsed() < limit,
                "{what}: not after {limit:?}: {ledger:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A pipeline whose rules are broken may never get there.
    fn patience(&self, limit: Duration) -> Duration {
        if self.setup.broken.is_some() {
            limit.min(BROKEN)
        } else {
            limit
        }
    }

    /// Waits until the sink has stored so many more rows.
    pub fn wait_progress(&self, rows: i64, limit: Duration) -> anyhow::Result<()> {
        let stored = |ledger: &Ledger| ledger.get(Counter::RowsStored);
        let before = self
            .wait_for("an answer of the queue", limit, |_| true)
            .map(|ledger| stored(&ledger))?;
        self.wait_for("progress", limit, |ledger| stored(ledger) >= before + rows)?;
        Ok(())
    }
}

/// Waits until it is so.
pub fn until(what: &str, limit: Duration, is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    ensure!(wait_until(limit, is_so), "{what}: not after {limit:?}");
    Ok(())
}
