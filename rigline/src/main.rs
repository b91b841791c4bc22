//! The `rigline` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    rigline::cli::main(std::env::args_os().collect())
}
