//! The producer: publishes the readings of a simulated fleet of rigs, or of a file, over MQTT at QoS 1.

pub mod fleet;
mod outlet;
pub mod process;
mod progress;
mod replay;
mod run;
mod schedule;
mod settings;
mod simulated;
pub mod simulation;

pub use run::run;
pub use settings::{FleetSettings, ProducerSettings, Rigs, rigs};
