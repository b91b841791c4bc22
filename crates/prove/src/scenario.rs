//! What an attack is, and the list of all.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use e2e::Deployment;

use crate::environment::Setup;
use crate::oracle::Verdict;
use crate::scenarios::{broker, disk, kills, load, machine, model, network, queue, stages};

/// From this many kills on, outages last as long as they are promised to be survived.
const LONG: usize = 1_000;

/// How hard to attack.
#[derive(Debug, Clone)]
pub struct Task {
    /// Which of the two set-ups.
    pub deployment: Deployment,
    /// Decides every choice.
    pub seed: u64,
    /// How many kills; other faults follow from it.
    pub n: usize,
    /// Stages that break a rule, instead of this tree's.
    pub broken: Option<PathBuf>,
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

    /// The usual environment.
    #[must_use]
    pub fn setup(&self) -> Setup {
        Setup::new(self.deployment, self.seed, self.broken.clone())
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

/// An attack on either set-up, with the same code.
pub const BOTH: &[Deployment] = Deployment::ALL;
/// An attack on servers, or on stages by themselves.
pub const SERVERS: &[Deployment] = &[Deployment::Servers];

/// One attack.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// The set-ups that it makes sense on.
    pub on: &'static [Deployment],
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
        kills::SCENARIOS,
        stages::SCENARIOS,
        queue::SCENARIOS,
        disk::SCENARIOS,
        broker::SCENARIOS,
        network::SCENARIOS,
        load::SCENARIOS,
        machine::SCENARIOS,
        model::SCENARIOS,
    ]
    .concat()
}

/// Those that make sense on this set-up.
pub fn on(deployment: Deployment) -> impl Iterator<Item = Scenario> {
    let all = all().into_iter();
    all.filter(move |scenario| scenario.on.contains(&deployment))
}

/// The one of this name, if it makes sense on this set-up.
#[must_use]
pub fn find(name: &str, deployment: Deployment) -> Option<Scenario> {
    on(deployment).find(|scenario| scenario.name == name)
}
