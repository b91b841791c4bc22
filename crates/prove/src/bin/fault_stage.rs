//! All stages in one binary, with points at which a stage can stop itself (see `common::faults`). The
//! variable `RIGLINE_STAGE` selects the stage. With `RIGLINE_POINT=name:signal:n` the stage sends itself
//! SIGKILL (`kill`) or SIGSTOP (`stop`) when it reaches a point for the n-th time.

use std::process::ExitCode;

#[cfg(rigline_faults)]
fn main() -> ExitCode {
    prove::point::install_hook();
    let args = std::env::args_os();
    match std::env::var("RIGLINE_STAGE").unwrap_or_default().as_str() {
        "ingester" => ingester::process::main(args),
        "up" => rigline::up::main(args),
        "transformer" => transformer::process::main(args),
        _ => sink::process::main(args),
    }
}

#[cfg(not(rigline_faults))]
#[expect(clippy::print_stderr, reason = "the output of a command")]
fn main() -> ExitCode {
    eprintln!("built without --cfg rigline_faults: use `make prove`");
    ExitCode::FAILURE
}
