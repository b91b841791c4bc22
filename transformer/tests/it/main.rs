//! The transformer on a queue in a file: readings in, rows out, and a ledger that adds up.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fixture;
mod limits;
mod lists;
mod restart;
mod rows;
mod timers;
mod windows;
