//! The ingester between a real Mosquitto and a queue in a file.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fixture;
mod http;
mod input;
#[cfg(feature = "kafka")]
mod kafka;
mod mapped;
mod process;
mod safety;
mod takeover;
