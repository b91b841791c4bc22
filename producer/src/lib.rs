//! A simulated fleet of rigs that publishes its readings over MQTT at QoS 1, or what is in a file
//! instead.

pub mod fleet;
mod outlet;
pub mod process;
mod progress;
mod replay;
mod run;
mod schedule;
mod settings;

pub use run::run;
pub use settings::{FleetSettings, ProducerSettings, Rigs, rigs};
