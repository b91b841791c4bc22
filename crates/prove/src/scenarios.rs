//! The attacks, by what they attack.

use std::time::Duration;

use crate::environment::{Environment, Setup};
use crate::scenario::Task;
use crate::traffic::rounds;

pub mod broker;
pub mod disk;
pub mod kills;
pub mod load;
pub mod machine;
pub mod model;
pub mod network;
pub mod points;
pub mod queue;
pub mod stages;

/// Rigs of the usual load.
const RIGS: u16 = 20;
/// Time from one row of the usual load to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// How long something that has to happen may take.
const SOON: Duration = Duration::from_mins(2);

/// Servers, stages and the usual load, and rows that direction.
fn loaded(task: &Task) -> anyhow::Result<Environment> {
    loaded_with(task.setup(), task)
}

/// As [`loaded`], set up otherwise.
fn loaded_with(setup: Setup, task: &Task) -> anyhow::Result<Environment> {
    let mut environment = Environment::start(setup)?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    environment.wait_progress(1, SOON)?;
    Ok(environment)
}
