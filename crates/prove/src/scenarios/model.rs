//! The commit protocol by itself, in virtual time.

use anyhow::anyhow;
use queue::testing::simulation::{Options, simulate};

use crate::oracle::Findings;
use crate::scenario::{Parameters, Report, Scenario};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario::on_servers(
    "model",
    "a model of the commit protocol: two replicas, lost and late requests, freezes, crashes, wrong clocks",
    model,
)];

/// Runs of the model per kill. A debug build is so much slower that it would hold up all other scenarios.
const RUNS: u64 = if cfg!(debug_assertions) { 50 } else { 2_500 };

fn model(params: &Parameters) -> anyhow::Result<Report> {
    let options = Options {
        seed: params.seed,
        first: 0,
        runs: RUNS * u64::try_from(params.kills)?,
        rule: None,
    };
    let seen = simulate(&options).map_err(|failure| anyhow!("{failure}"))?;
    let summary = format!(
        "{} interleavings of {} steps: {} commits applied, {} refused, {} replies lost, {} crashes, {} freezes",
        seen.runs,
        seen.steps,
        seen.applied,
        seen.refused,
        seen.replies_lost,
        seen.crashes,
        seen.freezes
    );
    Ok(Report::new(Findings::default(), summary, 0))
}
