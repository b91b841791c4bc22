//! The commit protocol by itself, in virtual time.

use anyhow::anyhow;
use queue::testing::simulation::{Options, simulate};

use crate::oracle::Verdict;
use crate::scenario::{Report, SERVERS, Scenario, Task};

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "model",
    about: "a model of the commit protocol: two replicas, lost and late requests, freezes, crashes, wrong clocks",
    on: SERVERS,
    run: model,
}];

/// Runs of the model for one kill.
const RUNS: u64 = 2_500;

fn model(task: &Task) -> anyhow::Result<Report> {
    let options = Options {
        seed: task.seed,
        first: 0,
        runs: RUNS * u64::try_from(task.n)?,
        rule: None,
    };
    let seen = simulate(&options).map_err(|failure| anyhow!("{failure}"))?;
    let facts = format!(
        "{} interleavings of {} steps: {} commits applied, {} refused, {} answers lost, {} crashes, {} freezes",
        seen.runs,
        seen.steps,
        seen.applied,
        seen.refused,
        seen.replies_lost,
        seen.crashes,
        seen.freezes
    );
    Ok(Report::new(Verdict::default(), facts, 0))
}
