//! Servers, stages and a load, with a wire that can be cut between any two of them.

mod verdict;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::clock::Clock;
use common::faults::{Point, Rule};
use e2e::{Chain, Role};
use fastrand::Rng;
use queue::Look;
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::redis::RedisQueue;
use testkit::{Launch, Mosquitto, Redis, Stage, Wire, target_dir, wait_until};
use tokio::runtime::Runtime;

use crate::message::Epoch;
use crate::traffic::{Batch, Traffic};

/// How long a stage may take to be ready after its start.
const READY: Duration = Duration::from_secs(30);
/// How long a run that breaks a rule is waited for.
const BROKEN: Duration = Duration::from_secs(20);

/// How an arena is set up.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Decides every choice.
    pub seed: u64,
    /// Settings of all stages beyond the arena's own.
    pub settings: Vec<(&'static str, String)>,
    /// Redis's options beyond the usual.
    pub redis: Vec<String>,
    /// Where Redis keeps its data, if not in a directory of its own.
    pub redis_dir: Option<PathBuf>,
    /// Redis's environment.
    pub redis_env: Vec<(String, String)>,
    /// Lines of the broker's configuration beyond the usual.
    pub mosquitto: Vec<&'static str>,
    /// A rule that the stages break.
    pub broken: Option<Rule>,
}

impl Setup {
    /// The usual one.
    #[must_use]
    pub fn new(seed: u64, broken: Option<Rule>) -> Self {
        Self {
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

/// A wire between each two parts.
#[derive(Debug)]
pub struct Wires {
    /// From who publishes to the broker.
    pub load: Wire,
    /// From the ingester to the broker.
    pub broker: Wire,
    /// From each stage to Redis.
    pub redis: [Wire; 3],
    /// From the sink to the store.
    pub store: Wire,
}

impl Wires {
    /// All of them, with their names.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &Wire); 6] {
        [
            ("load to broker", &self.load),
            ("ingester to broker", &self.broker),
            ("ingester to redis", &self.redis[0]),
            ("transformer to redis", &self.redis[1]),
            ("sink to redis", &self.redis[2]),
            ("sink to store", &self.store),
        ]
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
pub struct Arena {
    /// The servers.
    pub chain: Chain,
    /// What is between them and the stages.
    pub wires: Wires,
    /// The stages, one of each role at first; more are standbys.
    pub stages: Vec<(Role, Stage)>,
    /// For choices.
    pub rng: Rng,
    /// The load's first row.
    pub epoch: Epoch,
    setup: Setup,
    traffic: Option<Traffic>,
    runtime: Runtime,
    queue: RedisQueue,
}

impl Arena {
    /// Starts servers and one stage of each role, and waits until they are ready.
    pub fn start(setup: Setup) -> anyhow::Result<Self> {
        let mut arena = Self::servers(setup);
        for role in Role::ALL {
            arena.spawn(role, None, &[]);
        }
        arena.ready()?;
        Ok(arena)
    }

    /// Starts the servers and no stage.
    #[must_use]
    pub fn servers(setup: Setup) -> Self {
        let own = [
            ("LEASE", "1s"),
            ("FLUSH_INTERVAL", "1s"),
            ("ALIGN", "100ms"),
            ("LATE_WINDOW", "3m"),
        ];
        let mut redis: Vec<&str> = vec![
            "--auto-aof-rewrite-percentage",
            "0",
            "--aof-timestamp-enabled",
            "yes",
        ];
        redis.extend(setup.redis.iter().map(String::as_str));
        let mut lines = vec!["allow_anonymous true"];
        lines.extend(&setup.mosquitto);
        let redis = match &setup.redis_dir {
            Some(dir) => Redis::start_in(dir, &redis),
            None => Redis::start_with_env(&redis, &setup.redis_env),
        };
        let chain = Chain::around(Mosquitto::start_with(&lines), redis, &own);
        let (mqtt, lists) = (chain.mosquitto.port(), chain.redis.port());
        let wires = Wires {
            load: Wire::start(mqtt),
            broker: Wire::start(mqtt),
            redis: [(); 3].map(|()| Wire::start(lists)),
            store: Wire::start(chain.victoria.port()),
        };
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
            queue: chain.queue(),
            wires,
            stages: Vec::new(),
            rng: Rng::with_seed(setup.seed),
            epoch: Epoch(start),
            traffic: None,
            runtime,
            setup,
            chain,
        }
    }

    /// Starts another stage and returns its place.
    pub fn spawn(&mut self, role: Role, stop: Option<Stop>, extra: &[(&str, String)]) -> usize {
        let stage = self.launch(role, stop, extra).spawn();
        self.stages.push((role, stage));
        self.stages.len() - 1
    }

    /// Starts the stage at this place again, which has ended.
    pub fn respawn(&mut self, place: usize, stop: Option<Stop>) {
        let role = self.stages[place].0;
        self.stages[place].1 = self.launch(role, stop, &[]).spawn();
    }

    /// How a stage of this role is started.
    pub fn launch(&self, role: Role, stop: Option<Stop>, extra: &[(&str, String)]) -> Launch {
        let port = |wire: &Wire| wire.port().to_string();
        let mut launch = Launch::binary(&stage_under_attack())
            .envs(self.chain.env())
            .env("RIGLINE_STAGE", role.name())
            .env("MQTT_PORT", &port(&self.wires.broker))
            .env("REDIS_PORT", &port(&self.wires.redis[role as usize]))
            .env(
                "INFLUX_URL",
                &format!("http://127.0.0.1:{}", port(&self.wires.store)),
            );
        for (name, value) in &self.setup.settings {
            launch = launch.env(name, value);
        }
        if let Some(rule) = self.setup.broken {
            launch = launch.env("RIGLINE_BREAK", rule.name());
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
    pub fn stage(&mut self, place: usize) -> &mut Stage {
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
        let port = self.wires.load.port();
        self.traffic = Some(Traffic::start(port, self.epoch, pause, batches));
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

    /// Counters and lengths of now; fails if Redis doesn't answer.
    pub fn ledger(&self) -> anyhow::Result<Ledger> {
        let Look { ledger, .. } = self
            .runtime
            .block_on(self.queue.look())
            .context("no look at the queue")?;
        Ok(ledger)
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

/// The binary of all stages with points and rules compiled in; built once.
fn stage_under_attack() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let name = "stage-under-attack";
            let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
            build.args([
                "build",
                "-p",
                "prove",
                "--features",
                "faults",
                "--bin",
                name,
            ]);
            build.arg("--quiet").current_dir(env!("CARGO_MANIFEST_DIR"));
            let profile = if cfg!(debug_assertions) {
                "debug"
            } else {
                build.arg("--release");
                "release"
            };
            let run = build.output().expect("cargo");
            let said = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "{said}");
            target_dir().join(profile).join(name)
        })
        .clone()
}

/// Waits until it is so.
pub fn until(what: &str, limit: Duration, is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    ensure!(wait_until(limit, is_so), "{what}: not after {limit:?}");
    Ok(())
}
