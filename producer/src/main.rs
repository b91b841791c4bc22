//! The producer as a process.

use std::process::ExitCode;

use common::harness::{Stage, main as run_stage};

const STAGE: Stage = Stage {
    name: "producer",
    about: "Publishes the readings of a simulated fleet of rigs over MQTT",
    admin_addr: "127.0.0.1:9100",
};

fn main() -> ExitCode {
    run_stage(&STAGE, producer::run)
}
