//! Two replicas of a stage beside a queue on Redis, for scenarios whose fault is at a server of a pipeline file: they
//! stop at points of their own, and another one takes the place of each that was killed.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use anyhow::ensure;
use common::faults::Point;
use fastrand::Rng;
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::redis::RedisQueue;
use queue::testing::{redis_settings, settings};
use testkit::{Launch, Redis, StageProcess};
use tokio::runtime::Runtime;

use super::TIMEOUT;
use crate::build::fault_stage;
use crate::environment::StopAt;
use crate::scenario::Parameters;

mod rows;

pub use rows::{MERGING_POINTS, Sinks};

/// The pipeline's name.
pub const NAME: &str = "numbers";
/// How long a lease lasts, which a standby waits for.
const LEASE: &str = "1s";
/// Elements at once: so few that a round takes several appends or commits.
const BATCH: &str = "10";
/// How often the ledger and the replicas are looked at.
const POLL: Duration = Duration::from_millis(20);
/// Most numbers in the message of a failure.
const SHOWN: usize = 30;
/// The number of the signal.
const SIGKILL: i32 = 9;

/// What the replicas are.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The stage.
    pub stage: &'static str,
    /// The pipeline file.
    pub file: &'static str,
    /// The variable of the server's URL, and the URL.
    pub server: (&'static str, String),
    /// Where replicas stop.
    pub points: &'static [Point],
    /// What the stage counts.
    pub counter: Counter,
}

/// Two replicas and their queue.
#[derive(Debug)]
pub struct Pair {
    /// The pipeline's queue.
    pub queue: RedisQueue,
    /// For random choices.
    pub rng: Rng,
    /// How many replicas were killed.
    pub killed: usize,
    /// How many replicas were frozen, and went on.
    pub thawed: usize,
    replicas: Vec<Replica>,
    /// How often work was waited for.
    rounds: usize,
    launch: Launch,
    plan: Plan,
    runtime: Runtime,
    _redis: Redis,
    _dir: tempfile::TempDir,
}

#[derive(Debug)]
struct Replica {
    process: StageProcess,
    /// The round in which it was thawed. It stops at no other point since.
    thawed_in: Option<usize>,
}

impl Pair {
    /// Starts Redis and the replicas.
    pub fn start(params: &Parameters, plan: Plan) -> anyhow::Result<Self> {
        let redis = Redis::start();
        let dir = tempfile::tempdir()?;
        let file = dir.path().join(format!("{NAME}.toml"));
        std::fs::write(&file, plan.file)?;
        let binary = params.broken_binary.clone().unwrap_or_else(fault_stage);
        let launch = Launch::binary(&binary)
            .env("RIGLINE_STAGE", plan.stage)
            .env("PIPELINES", &file.display().to_string())
            .env(plan.server.0, &plan.server.1)
            .env("REDIS_HOST", "127.0.0.1")
            .env("REDIS_PORT", &redis.port().to_string())
            .env("LEASE", LEASE)
            .env("BATCH", BATCH);
        let mut pair = Self {
            queue: RedisQueue::new(&settings().of_pipeline(NAME), &redis_settings(redis.port()))?,
            rng: Rng::with_seed(params.seed),
            killed: 0,
            thawed: 0,
            replicas: Vec::new(),
            rounds: 0,
            launch,
            plan,
            runtime: Runtime::new()?,
            _redis: redis,
            _dir: dir,
        };
        for _ in 0..2 {
            let replica = pair.stopping();
            pair.replicas.push(replica);
        }
        Ok(pair)
    }

    /// Waits for an answer of the queue.
    pub fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    /// The ledger now.
    pub fn ledger(&self) -> anyhow::Result<Ledger> {
        Ok(self.wait(self.queue.snapshot())?.ledger)
    }

    /// A replica that stops at some point.
    fn stopping(&mut self) -> Replica {
        let point = self.plan.points[self.rng.usize(..self.plan.points.len())];
        let stop = StopAt {
            point,
            signal: if self.rng.u8(..4) == 0 {
                "stop"
            } else {
                "kill"
            },
            occurrence: match point {
                // Mostly reached once.
                Point::AfterLease => 1,
                _ => self.rng.u64(1..5),
            },
        };
        let launch = self.launch.clone();
        Replica {
            process: launch.env("RIGLINE_POINT", &stop.to_string()).spawn(),
            thawed_in: None,
        }
    }

    /// Waits until a replica was killed or the stage has counted this many. A frozen replica goes on when the other
    /// one has done the work, and so has the lease.
    pub fn work_until_stopped(&mut self, count: i64) -> anyhow::Result<()> {
        self.work(count, true)
    }

    /// Waits until the stage has counted this many, whatever happens to replicas.
    pub fn work_until_done(&mut self, count: i64) -> anyhow::Result<()> {
        self.work(count, false)
    }

    fn work(&mut self, count: i64, until_killed: bool) -> anyhow::Result<()> {
        let started = Instant::now();
        self.rounds += 1;
        self.kill_thawed();
        let killed = self.killed;
        loop {
            let is_done = self.ledger()?.get(self.plan.counter) >= count;
            for place in 0..self.replicas.len() {
                self.replace_killed(place)?;
                if is_done && self.replicas[place].process.is_stopped() {
                    self.thaw(place);
                }
            }
            if is_done || until_killed && self.killed > killed {
                return Ok(());
            }
            let mut replicas = self.replicas.iter();
            if replicas.all(|replica| replica.process.is_stopped()) {
                self.thaw(0);
            }
            ensure!(started.elapsed() < TIMEOUT, "{}", self.state()?);
            std::thread::sleep(POLL);
        }
    }

    /// Starts another replica in the place of one that was killed. Fails if it has ended by itself.
    fn replace_killed(&mut self, place: usize) -> anyhow::Result<()> {
        let process = &mut self.replicas[place].process;
        if let Some(status) = process.wait_exit(Duration::ZERO) {
            let logs = process.logs();
            ensure!(status.signal() == Some(SIGKILL), "{status}: {logs}");
            self.killed += 1;
            self.replicas[place] = self.stopping();
        }
        Ok(())
    }

    fn thaw(&mut self, place: usize) {
        self.replicas[place].process.thaw();
        self.replicas[place].thawed_in = Some(self.rounds);
        self.thawed += 1;
    }

    /// Kills replicas that have gone on for a whole round after they were thawed: at any place, since work has just
    /// come.
    fn kill_thawed(&mut self) {
        for place in 0..self.replicas.len() {
            let thawed_in = self.replicas[place].thawed_in;
            if thawed_in.is_some_and(|round| round + 1 < self.rounds) {
                self.replicas[place].process.kill();
                self.replicas[place] = self.stopping();
                self.killed += 1;
            }
        }
    }

    /// Replaces both by replicas that don't stop.
    pub fn stop_no_more(&mut self) {
        for replica in &mut self.replicas {
            replica.process.kill();
            replica.process = self.launch.spawn();
            replica.thawed_in = None;
        }
    }

    /// The ledger and the logs, for the message of a failure.
    pub fn state(&self) -> anyhow::Result<String> {
        let replicas = self.replicas.iter();
        let logs: Vec<_> = replicas.map(|replica| replica.process.logs()).collect();
        Ok(format!("{:#?}\n{}", self.ledger()?, logs.join("\n\n")))
    }
}

/// Compares the numbers that were found with all those below `sent`.
pub fn each_once(mut found: Vec<i64>, sent: i64) -> anyhow::Result<()> {
    found.sort_unstable();
    let is_lost = |number: &i64| found.binary_search(number).is_err();
    let lost: Vec<_> = (0..sent).filter(is_lost).collect();
    let again = found.windows(2).filter(|two| two[0] == two[1]);
    let again: Vec<_> = again.map(|two| two[0]).collect();
    ensure!(
        found.iter().copied().eq(0..sent),
        "of {sent} there are {}; {} are lost: {:?}; {} are there again: {:?}",
        found.len(),
        lost.len(),
        &lost[..lost.len().min(SHOWN)],
        again.len(),
        &again[..again.len().min(SHOWN)]
    );
    Ok(())
}
