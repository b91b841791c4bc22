//! What an attack is, and the list of all.

use std::fmt;
use std::time::Duration;

use common::faults::Rule;

use crate::arena::Setup;
use crate::oracle::Verdict;
use crate::scenarios::{broker, load, machine, model, network, queue, stages};

/// From this many kills on, outages last as long as they are promised to be survived.
const LONG: usize = 1_000;

/// How hard to attack.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Decides every choice.
    pub seed: u64,
    /// How many kills; other faults follow from it.
    pub n: usize,
    /// A rule that the stages break.
    pub broken: Option<Rule>,
}

impl Task {
    /// One fault for so many kills, at least two.
    #[must_use]
    pub fn times(&self, kills: usize) -> usize {
        (self.n / kills).max(2)
    }

    /// How long an outage lasts, in seconds: in a short attack, and in a long one.
    #[must_use]
    pub const fn seconds(&self, short: u64, long: u64) -> Duration {
        Duration::from_secs(if self.n >= LONG { long } else { short })
    }

    /// The usual arena.
    #[must_use]
    pub fn setup(&self) -> Setup {
        Setup::new(self.seed, self.broken)
    }
}

/// What came out of an attack.
#[derive(Debug)]
pub struct Report {
    /// What the oracle says.
    pub verdict: Verdict,
    /// What was done, and what was seen beside it.
    pub facts: String,
    /// Faults that might have done harm, each by itself: kills, restarts, cuts.
    pub faults: usize,
}

impl Report {
    /// All parts.
    #[must_use]
    pub const fn new(verdict: Verdict, facts: String, faults: usize) -> Self {
        Self {
            verdict,
            facts,
            faults,
        }
    }
}

/// One attack.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Does it. Fails if something promised doesn't happen; the verdict is the caller's to look at.
    pub run: fn(&Task) -> anyhow::Result<Report>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Scenario> {
    [
        stages::SCENARIOS,
        queue::SCENARIOS,
        broker::SCENARIOS,
        network::SCENARIOS,
        load::SCENARIOS,
        machine::SCENARIOS,
        model::SCENARIOS,
    ]
    .concat()
}

/// The scenario that has to notice when this rule is broken.
#[must_use]
pub const fn notices(rule: Rule) -> &'static str {
    match rule {
        Rule::AcknowledgeAfterAppend
        | Rule::TrimWithCommit
        | Rule::WriteBeforeCommit
        | Rule::RememberEmitted => "kills",
        Rule::AcknowledgeOwnConnection => "new-session",
        Rule::CheckToken => "stalls",
        Rule::CheckNumber => "late-commits",
        Rule::AskBeforeResend => "lost-replies",
        Rule::WaitWhenFull => "overload",
        Rule::FlushAtListEnd => "backlog",
        Rule::SubscribeAgain => "broker-emptied",
        Rule::LeaseByQueueClock => "standby-clock",
    }
}
