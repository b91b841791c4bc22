//! The room every other room stands on: readings and rows, their wire forms, settings, time,
//! health, telemetry and the process harness. It names no vendor's client.

pub mod clock;
pub mod time;

pub mod name;
pub mod reading;
pub mod row;
pub mod topic;

pub mod dead_letter;
pub mod guard;
pub mod limits;
pub mod wire;

pub mod secret;
pub mod settings;

pub mod backoff;
pub mod health;
pub mod metric;

pub mod admin;
pub mod faults;
pub mod harness;
pub mod telemetry;
