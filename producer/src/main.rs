//! The `producer` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    producer::process::main(std::env::args_os())
}
