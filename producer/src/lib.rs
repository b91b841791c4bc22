//! A simulated fleet of rigs that publishes its readings over MQTT at QoS 1.

pub mod fleet;
pub mod process;
mod run;
mod settings;

pub use run::run;
pub use settings::{FleetSettings, ProducerSettings, Rigs, rigs};
