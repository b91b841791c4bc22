//! The stage as a process.

use std::ffi::OsString;
use std::process::ExitCode;

use common::cli::Program;
use common::harness;

use crate::progress::Show;
use crate::run::run_with;

const PROGRAM: Program = Program {
    name: "producer",
    about: "Publishes the readings of a simulated fleet of rigs, or of a file, over MQTT",
    admin_addr: "127.0.0.1:9100",
    log_filter: "info",
};

/// Runs the stage until a signal. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, |settings, process| {
        run_with(settings, process, Show::for_process())
    })
}
