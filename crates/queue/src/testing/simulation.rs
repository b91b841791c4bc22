//! A model check of the commit protocol: two replicas of a stage, a producer and a server with faults,
//! in virtual time.
//!
//! The replicas run the real [`consume`](crate::consume::consume) on a
//! [`MemoryQueue`](super::MemoryQueue). A schedule, generated from the seed, decides the fault of each
//! call. After the last fault, every element must be output once and in order.

mod call;
mod check;
mod client;
mod processor;
mod replica;
mod run;
mod schedule;
mod trace;

use std::cell::Cell;
use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::Builder;

use self::run::Run;
use self::schedule::{Schedule, schedules};

/// Replicas of the stage.
const REPLICAS: usize = 2;
/// The time limit of the replicas' leases.
const LEASE: Duration = Duration::from_millis(600);
/// A run that takes longer, in virtual time, doesn't make progress.
const RUN_LIMIT: Duration = Duration::from_mins(10);
/// How many smaller schedules are tried after a failure.
const SHRINK_LIMIT: u32 = 4_000;
/// How many lines of a trace are shown, of its beginning and of its end.
const SHOWN: usize = 100;

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The seed of all runs. The same seed gives the same runs.
    pub seed: u64,
    /// The first run, to repeat a single one: a run doesn't depend on the runs before it.
    pub first: u64,
    /// The number of runs.
    pub runs: u64,
    /// The rule to break, to test that the simulation detects it.
    pub rule: Option<BrokenRule>,
}

/// A rule of the protocol that a simulation can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenRule {
    /// A commit doesn't check the lease's token.
    SkipTokenCheck,
    /// A commit doesn't check the number.
    SkipNumberCheck,
    /// A commit without a reply is resent with the list's current number.
    ResendBlindly,
    /// A commit trims first, and a server that crashes in it does no more than that.
    TrimBeforeAppend,
    /// A replica decides by its own clock whether it holds the lease, and the server trusts it.
    LeaseByConsumerClock,
    /// A replica that acquires the lease ignores the state.
    ForgetState,
    /// A replica keeps its in-memory state when the list isn't at the number of its last commit.
    TrustMemory,
}

impl BrokenRule {
    /// All rules.
    pub const ALL: [Self; 7] = [
        Self::SkipTokenCheck,
        Self::SkipNumberCheck,
        Self::ResendBlindly,
        Self::TrimBeforeAppend,
        Self::LeaseByConsumerClock,
        Self::ForgetState,
        Self::TrustMemory,
    ];
}

/// The counts of all runs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// The runs.
    pub runs: u64,
    /// Calls of replicas.
    pub steps: u64,
    /// Commits that were applied.
    pub applied: u64,
    /// Commits that arrived and were refused.
    pub refused: u64,
    /// Replies that were lost.
    pub replies_lost: u64,
    /// Leases that one replica acquired after the other.
    pub takeovers: u64,
    /// Replicas that crashed.
    pub crashes: u64,
    /// Replicas that were frozen.
    pub freezes: u64,
    /// Servers that crashed.
    pub server_crashes: u64,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, more: Self) {
        self.runs += more.runs;
        self.steps += more.steps;
        self.applied += more.applied;
        self.refused += more.refused;
        self.replies_lost += more.replies_lost;
        self.takeovers += more.takeovers;
        self.crashes += more.crashes;
        self.freezes += more.freezes;
        self.server_crashes += more.server_crashes;
    }
}

/// A run that violated a promise, shrunk by proptest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The options of the simulation.
    pub options: Options,
    /// The run, counted from 0.
    pub run: u64,
    /// The violation.
    pub violated: String,
    /// The number of faults in the shrunk schedule.
    pub faults: usize,
    /// The calls with their faults, and the server's replies.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, run) = (self.options.seed, self.run);
        writeln!(f, "seed {seed}, run {run}: {}", self.violated)?;
        if let Some(rule) = self.options.rule {
            writeln!(f, "broken rule: {rule:?}")?;
        }
        let hidden = self.trace.len().saturating_sub(2 * SHOWN);
        for line in self.trace.iter().take(SHOWN) {
            writeln!(f, "{line}")?;
        }
        if hidden > 0 {
            writeln!(f, "({hidden} lines omitted)")?;
        }
        for line in self.trace.iter().skip(SHOWN + hidden) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Simulates all runs, or up to the first that violates a promise. Must not be called in a tokio
/// runtime, because it starts its own.
pub fn simulate(options: &Options) -> Result<Summary, Box<Failure>> {
    let schedules = schedules();
    let summary = Cell::new(Summary::default());
    let runs = usize::try_from(options.runs).expect("runs fit into memory");
    for run in (options.first..).take(runs) {
        let tested = runner(options.seed, run).run(&schedules, |schedule| {
            let result = simulate_run(schedule, options.rule, false);
            let mut sum = summary.get();
            sum += result.summary;
            summary.set(sum);
            let violated = result.violated.map(TestCaseError::fail);
            violated.map_or(Ok(()), Err)
        });
        match tested {
            Ok(()) => {}
            Err(TestError::Fail(_, schedule)) => {
                return Err(Box::new(explain(*options, run, schedule)));
            }
            Err(TestError::Abort(reason)) => panic!("run {run} was aborted: {reason}"),
        }
    }
    Ok(summary.get())
}

/// A runner of one test case, which depends on the seed and the run only.
fn runner(seed: u64, run: u64) -> TestRunner {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: SHRINK_LIMIT,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&run.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Repeats a failed run with a trace.
fn explain(options: Options, run: u64, schedule: Schedule) -> Failure {
    let faults = schedule.faults.iter().flatten().count();
    let result = simulate_run(schedule, options.rule, true);
    Failure {
        options,
        run,
        violated: result.violated.unwrap_or_default(),
        faults,
        trace: result.trace,
    }
}

struct RunResult {
    summary: Summary,
    violated: Option<String>,
    trace: Vec<String>,
}

/// Simulates one schedule. The result depends on the arguments only.
fn simulate_run(schedule: Schedule, rule: Option<BrokenRule>, with_trace: bool) -> RunResult {
    // Of nonces and of the jitter of waits.
    fastrand::seed(0);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without threads");
    let (run, ended) = runtime.block_on(async {
        let run = Run::new(schedule, rule, with_trace);
        for replica in 0..REPLICAS {
            tokio::spawn(replica::run(Arc::clone(&run), replica));
        }
        let ended = tokio::time::timeout(RUN_LIMIT, run.over.notified()).await;
        (run, ended.is_ok())
    });
    let timeout = (!ended).then(|| format!("the list isn't drained after {RUN_LIMIT:?}"));
    let violated = run
        .violated()
        .or(timeout)
        .or_else(|| check::violation(&run));
    let (summary, trace) = run.finish();
    RunResult {
        summary,
        violated,
        trace,
    }
}
