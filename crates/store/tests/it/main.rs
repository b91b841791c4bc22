//! Contract suites that every store passes, and what only one of them can show.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod contract;
mod disk;
mod files;
mod fixture;
mod influx_only;
#[cfg(feature = "kafka")]
mod kafka;
mod killed;
mod migration;
mod model;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "postgres")]
mod postgres;
mod properties;
mod redis_latest;
mod retention;
mod series;
mod sqlite_only;
mod tagged;
mod writes;
