//! The `ingester` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ingester::process::main(std::env::args_os())
}
