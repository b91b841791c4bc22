//! The pipeline end to end, and the rules that hold the rooms apart.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod chain;
mod environment;
mod pipeline;
mod readings;
mod rules;
mod settings;
