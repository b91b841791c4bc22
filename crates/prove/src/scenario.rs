//! The parts of a scenario, and the list of all scenarios.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use e2e::Deployment;

use crate::environment::Setup;
use crate::oracle::Findings;
use crate::scenarios::{
    broker, disk, kafka, kafka_source, kills, load, machine, model, mongo, network, queue, stages,
    tables,
};

/// From this many kills on, outages last as long as Rigline promises to survive.
const LONG: usize = 1_000;

/// The parameters of one run of a scenario.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// The deployment under test.
    pub deployment: Deployment,
    /// Determines every random choice.
    pub seed: u64,
    /// The number of kills; the number of other faults follows from it.
    pub kills: usize,
    /// A stage binary that breaks a rule, instead of one built from this tree.
    pub broken_binary: Option<PathBuf>,
}

impl Parameters {
    /// One fault for this many kills, at least two.
    #[must_use]
    pub fn times(&self, kills: usize) -> usize {
        (self.kills / kills).max(2)
    }

    /// A duration in seconds, for a short and for a long run.
    #[must_use]
    pub const fn duration(&self, short: u64, long: u64) -> Duration {
        Duration::from_secs(if self.kills >= LONG { long } else { short })
    }

    /// The default setup of an environment.
    #[must_use]
    pub fn setup(&self) -> Setup {
        Setup::new(self.deployment, self.seed, self.broken_binary.clone())
    }
}

/// The result of a scenario.
#[derive(Debug)]
pub struct Report {
    /// The oracle's findings.
    pub findings: Findings,
    /// The faults and observations in one line.
    pub summary: String,
    /// How many faults were injected that may do harm independently: kills, restarts, cuts.
    pub faults: usize,
}

impl Report {
    /// A report of these parts.
    #[must_use]
    pub fn new(findings: Findings, summary: impl Into<String>, faults: usize) -> Self {
        Self {
            findings,
            summary: summary.into(),
            faults,
        }
    }

    /// The report of a scenario that this machine can't run.
    #[must_use]
    pub fn skipped(reason: &str) -> Self {
        Self::new(Findings::default(), format!("skipped: {reason}"), 0)
    }
}

/// The function that runs a scenario.
pub type Run = fn(&Parameters) -> anyhow::Result<Report>;

/// A fault-injection scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// A description in one line.
    pub about: &'static str,
    /// The deployments that it runs on.
    pub deployments: &'static [Deployment],
    /// Runs it. Fails if a fault doesn't take effect or a promise isn't kept; the caller checks the
    /// findings.
    pub run: Run,
}

impl Scenario {
    /// A scenario for both deployments.
    #[must_use]
    pub const fn on_both(name: &'static str, about: &'static str, run: Run) -> Self {
        Self {
            name,
            about,
            deployments: Deployment::ALL,
            run,
        }
    }

    /// A scenario that needs servers or separate stages.
    #[must_use]
    pub const fn on_servers(name: &'static str, about: &'static str, run: Run) -> Self {
        Self {
            deployments: &[Deployment::Servers],
            ..Self::on_both(name, about, run)
        }
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All scenarios.
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
        kafka::SCENARIOS,
        kafka_source::SCENARIOS,
        mongo::SCENARIOS,
        tables::SCENARIOS,
    ]
    .concat()
}

/// The scenarios that run on this deployment.
pub fn on(deployment: Deployment) -> impl Iterator<Item = Scenario> {
    let all = all().into_iter();
    all.filter(move |scenario| scenario.deployments.contains(&deployment))
}

/// The scenario with this name, if it runs on this deployment.
#[must_use]
pub fn find(name: &str, deployment: Deployment) -> Option<Scenario> {
    on(deployment).find(|scenario| scenario.name == name)
}
