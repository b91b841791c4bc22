//! The pipeline end to end, and the dependency rules of the workspace.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod chain;
mod environment;
mod pipeline;
mod readings;
mod rules;
mod settings;
