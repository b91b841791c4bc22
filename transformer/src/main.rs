//! The `transformer` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    transformer::process::main(std::env::args_os())
}
