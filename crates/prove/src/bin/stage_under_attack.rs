//! The stages with their points and rules compiled in (see `common::faults`); the variable
//! `RIGLINE_STAGE` says which stage it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os();
    match std::env::var("RIGLINE_STAGE").unwrap_or_default().as_str() {
        "ingester" => ingester::process::main(args),
        "up" => rigline::up::main(args),
        "transformer" => transformer::process::main(args),
        _ => sink::process::main(args),
    }
}
