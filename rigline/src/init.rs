//! Sets `InfluxDB` up for the other containers, once, and continues where an earlier start ended.
//!
//! Every step first checks what exists, and generated secrets are on disk before they are used. So `init`
//! can be killed at any point, and the response to any request may be lost.

mod first;
mod passwords;
mod random;
mod retry;
mod secrets;
mod settings;
mod setup;
mod steps;
mod tokens;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use common::cli;
use tokio::signal::unix::{SignalKind, signal};

use settings::InitArgs;

pub use passwords::main as passwords;

/// The user that `init` creates. Its password is in the directory of secrets.
const USER: &str = "admin";
/// The exit code of a process that a signal ended is this plus the signal's number.
const EXIT_SIGNAL: u8 = 128;

const ABOUT: &str = "Sets InfluxDB up: user, organisation, bucket, tokens for sink, API and notebook, \
    dashboard. Ends when all exist, and continues where an earlier start ended. A second run changes nothing";

/// Runs until everything is set up. Exit code 0, 1 after an error, or 64 for bad settings. `args` start
/// with the program's name.
#[expect(clippy::print_stderr, reason = "the answer of a command")]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: InitArgs = match cli::parse_settings("rigline init", ABOUT, args) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| {
            let ended = runtime.block_on(until_stopped(steps::run(&args)));
            // A pending DNS lookup must not delay the exit.
            runtime.shutdown_background();
            ended
        });
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Handles signals: by default, they don't end the first process of a container.
async fn until_stopped(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        ended = work => ended.map(|()| ExitCode::SUCCESS),
        _ = terminate.recv() => Ok(ExitCode::from(EXIT_SIGNAL + 15)),
        _ = interrupt.recv() => Ok(ExitCode::from(EXIT_SIGNAL + 2)),
    }
}

/// Prints a line. Ignores errors, since standard output may be closed.
fn print_line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
}
