//! One contract suite that every queue passes, and what only one of them can show.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod contract;
mod conversion;
mod dead_letters;
mod fixture;
mod model;
mod positions;
mod redis_only;
mod sqlite_only;
mod stretch;
mod tls;
mod trimming;
