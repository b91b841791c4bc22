//! The binary `rigline`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acl;
mod alerts;
mod broker;
mod check;
mod connections;
mod demo;
mod feed;
mod fixture;
mod influx;
mod init;
mod inspect;
#[cfg(feature = "kafka")]
mod kafka_store;
mod pipelines;
mod redis;
mod report;
#[cfg(all(feature = "mongodb", feature = "postgres"))]
mod server_rows;
mod tap;
mod up;
