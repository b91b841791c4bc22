//! A model check of the commit protocol: two replicas of a stage, one list, a producer, and
//! whatever can happen between them, in virtual time.
//!
//! The replicas run the real [`LeaseManager`](crate::lease_manager::LeaseManager) and the real
//! [`settle`](crate::settle::settle) on a [`MemoryQueue`](super::MemoryQueue). A schedule, drawn
//! from the seed, says what becomes of each call; when it is used up, all goes well, and whatever
//! was appended has to come out, once and in order.

mod replica;
mod schedule;
mod toy;
mod verdict;
mod wire;
mod words;
mod world;

use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use self::world::{REPLICAS, World};

/// The limit of the replicas' leases.
const LEASE: Duration = Duration::from_millis(600);
/// A run that isn't over by then never will be.
const PATIENCE: Duration = Duration::from_mins(10);

/// Most lines of a trace that are shown, of its beginning and of its end.
const SHOWN: usize = 100;

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Decides everything: the same seed gives the same runs.
    pub seed: u64,
    /// The first run, to look at one again; each goes its own way, whichever ran before.
    pub first: u64,
    /// How many runs.
    pub runs: u64,
    /// The rule to break, to see that it is noticed.
    pub rule: Option<BrokenRule>,
}

/// A rule of the protocol that a simulation can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenRule {
    /// A commit doesn't check the lease's token.
    SkipTokenCheck,
    /// A commit doesn't check the number.
    SkipNumberCheck,
    /// A commit without an answer is sent again with the number that the list is at by then.
    ResendBlindly,
    /// A commit trims first, and a server that dies in it does no more than that.
    TrimBeforeAppend,
    /// A replica decides by its own clock whether it still holds the lease; the server trusts it.
    LeaseByConsumerClock,
    /// A replica that takes the lease doesn't read the state.
    ForgetState,
    /// A replica goes on with what it has in memory when it peeks at another number than the one
    /// that its own last commit left.
    TrustMemory,
}

impl BrokenRule {
    /// All of them.
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

/// What happened in all runs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// Calls that replicas made.
    pub steps: u64,
    /// Commits that were carried out.
    pub applied: u64,
    /// Commits that arrived and were refused.
    pub refused: u64,
    /// Answers that were lost.
    pub replies_lost: u64,
    /// Leases that went from one replica to the other.
    pub takeovers: u64,
    /// Replicas that were killed.
    pub crashes: u64,
    /// Replicas that stood still for a while.
    pub freezes: u64,
    /// Servers that were killed.
    pub server_deaths: u64,
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
        self.server_deaths += more.server_deaths;
    }
}

/// A run that broke a promise, made as small as possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it was simulated with.
    pub options: Options,
    /// Which run it was, counted from 0.
    pub run: u64,
    /// What was violated.
    pub violated: String,
    /// The schedule in bytes, as it was made smaller.
    pub schedule: Vec<u8>,
    /// What happened in it, line by line.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, run) = (self.options.seed, self.run);
        writeln!(f, "seed {seed}, run {run}: {}", self.violated)?;
        if let Some(rule) = self.options.rule {
            writeln!(f, "broken rule: {rule:?}")?;
        }
        writeln!(f, "schedule: {:02x?}", self.schedule)?;
        let hidden = self.trace.len().saturating_sub(2 * SHOWN);
        for line in self.trace.iter().take(SHOWN) {
            writeln!(f, "{line}")?;
        }
        if hidden > 0 {
            writeln!(f, "({hidden} lines between)")?;
        }
        for line in self.trace.iter().skip(SHOWN + hidden) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Runs them all, or up to the first that breaks a promise. Not to be called in a tokio runtime, as
/// it makes its own.
pub fn simulate(options: &Options) -> Result<Summary, Box<Failure>> {
    let mut summary = Summary::default();
    let runs = usize::try_from(options.runs).unwrap_or(usize::MAX);
    for run in (options.first..).take(runs) {
        let mut rng =
            fastrand::Rng::with_seed(options.seed ^ fastrand::Rng::with_seed(run).u64(..));
        let bytes = schedule::draw(&mut rng);
        let played = play(&bytes, options.rule, false);
        summary += played.summary;
        if played.violated.is_some() {
            return Err(Box::new(explain(*options, run, bytes)));
        }
    }
    Ok(summary)
}

fn explain(options: Options, run: u64, bytes: Vec<u8>) -> Failure {
    let fails = |bytes: &[u8]| play(bytes, options.rule, false).violated.is_some();
    let schedule = schedule::shrink(bytes, fails);
    let played = play(&schedule, options.rule, true);
    Failure {
        options,
        run,
        violated: played.violated.unwrap_or_default(),
        schedule,
        trace: played.trace,
    }
}

struct Played {
    summary: Summary,
    violated: Option<String>,
    trace: Vec<String>,
}

/// Plays one schedule; the same one always goes the same way.
fn play(bytes: &[u8], rule: Option<BrokenRule>, tells: bool) -> Played {
    // Nonces and the jitter of waits.
    fastrand::seed(0);
    let runtime = runtime();
    let (world, drained) = runtime.block_on(async {
        let world = World::new(bytes, rule, tells);
        for who in 0..REPLICAS {
            tokio::spawn(replica::run(Arc::clone(&world), who));
        }
        let drained = tokio::time::timeout(PATIENCE, world.over.notified()).await;
        (world, drained.is_ok())
    });
    let stuck = (!drained).then(|| "not drained long after the last fault".to_owned());
    let violated = world.violated().or(stuck);
    let violated = violated.or_else(|| verdict::violated(&world));
    let (summary, trace) = world.finish();
    Played {
        summary,
        violated,
        trace,
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    builder.build().expect("a runtime without threads")
}
