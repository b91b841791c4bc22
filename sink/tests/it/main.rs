//! The sink between a queue in a file and a store that fails on command.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod fixture;
mod outages;
mod refusals;
mod several;
mod takeover;
mod timers;
mod transactions;
