//! The API over real files, request by request, without a network in between.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod access;
mod alerts;
mod dashboard;
mod dead_letters;
mod document;
#[cfg(feature = "mongodb")]
mod facilities;
mod fixture;
mod messages;
mod problems;
mod reports;
mod rows;
mod state;
mod stream;
mod tls;
