//! The pipeline end to end, and the dependency rules of the workspace.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod api;
mod broker;
mod chain;
mod colors;
#[cfg(feature = "protobuf")]
mod descriptors;
mod earlier;
mod environment;
#[cfg(all(feature = "kafka", feature = "mongodb", feature = "protobuf"))]
mod facilities;
#[cfg(all(feature = "kafka", feature = "mongodb", feature = "protobuf"))]
mod facilities_api;
mod feed;
mod grafana;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_store;
#[cfg(feature = "mongodb")]
mod mongodb;
mod monitoring;
mod pipeline;
mod readings;
mod rotation;
mod rules;
mod secrets;
mod sensors;
mod settings;
mod simulation;
mod statistics;
mod system_api;
mod systemd;
mod windows;
#[cfg(feature = "postgres")]
mod workorders;
