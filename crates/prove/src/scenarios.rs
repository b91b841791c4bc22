//! The scenarios, by what fails in them.

use std::time::Duration;

use crate::environment::{Environment, Setup};
use crate::oracle::Expectations;
use crate::scenario::{Parameters, Report};
use crate::traffic::rounds;

pub mod broker;
pub mod disk;
pub mod kafka;
pub mod kafka_source;
pub mod kills;
pub mod load;
pub mod machine;
pub mod model;
pub mod mongo;
pub mod network;
pub mod pair;
pub mod points;
pub mod queue;
pub mod stages;
pub mod tables;

/// Rigs of the default load.
const RIGS: u16 = 20;
/// Time from one row of the default load to the next.
const ROW_INTERVAL: Duration = Duration::from_millis(100);
/// How long an expected change may take.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Whether the stages are built with this feature.
fn is_built_with(feature: &str) -> bool {
    let features = std::env::var("FEATURES").unwrap_or_default();
    features.split([',', ' ']).any(|name| name == feature)
}

/// Starts an environment with the default load, and waits for the first stored rows.
fn start_loaded(params: &Parameters) -> anyhow::Result<Environment> {
    start_loaded_with(params.setup(), params)
}

/// As [`start_loaded`], with another setup.
fn start_loaded_with(setup: Setup, params: &Parameters) -> anyhow::Result<Environment> {
    let mut environment = Environment::start(setup)?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    environment.wait_progress(1, TIMEOUT)?;
    Ok(environment)
}

/// Finishes a run in which nothing may be lost.
fn report(
    environment: &mut Environment,
    summary: impl Into<String>,
    faults: usize,
) -> anyhow::Result<Report> {
    let findings = environment.finish(Expectations::default())?;
    Ok(Report::new(findings, summary, faults))
}
