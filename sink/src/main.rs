//! The `sink` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    sink::process::main(std::env::args_os())
}
