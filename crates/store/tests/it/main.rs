//! One contract suite that every store with a history passes, and what only one of them can show.
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
mod killed;
mod model;
mod retention;
mod sqlite_only;
