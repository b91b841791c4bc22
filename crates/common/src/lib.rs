//! What every process needs: settings, the command line, the clock, health, telemetry and the process
//! life cycle. It names no vendor's client.

pub mod clock;

pub mod guard;
pub mod pipelines;
pub mod secret;
pub mod settings;
pub mod tls;

pub mod backoff;
pub mod health;
pub mod listen;
pub mod log_interval;
pub mod metric;

pub mod admin;
pub mod cli;
pub mod faults;
pub mod harness;
pub mod http;
pub mod telemetry;
