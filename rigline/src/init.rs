//! Sets `InfluxDB` up for the containers beside it, once, and goes on where an earlier start ended.
//!
//! Every step looks first and acts then, and what is made up is on disk before it is used. So it can
//! be ended at any point, and the answer to any request may be lost.

mod first;
mod passwords;
mod patience;
mod random;
mod secrets;
mod settings;
mod steps;
mod task;
mod tokens;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use common::cli;
use tokio::signal::unix::{SignalKind, signal};

use settings::InitArgs;

pub use passwords::main as passwords;

/// The user that is made; its password is in the directory of secrets.
const USER: &str = "admin";
/// What a process that a signal ended adds to the signal's number.
const EXIT_SIGNAL: u8 = 128;

const ABOUT: &str = "Sets InfluxDB up: user, organisation, bucket, tokens for sink and notebook, \
    dashboard. Ends when it is done, and picks up where an earlier start ended; again changes nothing";

/// Runs until everything is there: exit code 0, or 1 with what is the matter, or 64 for bad settings.
/// `args` start with the program's name.
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
            // A look-up of a name must not hold up the exit.
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

/// The first process of a container isn't ended by a signal that it doesn't wait for.
async fn until_stopped(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        ended = work => ended.map(|()| ExitCode::SUCCESS),
        _ = terminate.recv() => Ok(ExitCode::from(EXIT_SIGNAL + 15)),
        _ = interrupt.recv() => Ok(ExitCode::from(EXIT_SIGNAL + 2)),
    }
}

/// Says something on standard output; nobody may be reading.
fn say(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
}
