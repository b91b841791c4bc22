//! Commands that show rows, lists and dead letters, also while a process uses them.

pub mod dlq;
pub mod ledger;
pub mod lists;
mod notes;
pub(crate) mod output;
mod pipeline;
pub mod rigs;
pub mod rows;
pub mod stored;
pub mod users;

use std::io;
use std::pin::Pin;
use std::process::ExitCode;

use common::settings::BadSetting;

use crate::cli::EXIT_USAGE;

/// The exit code if there is nothing to show.
const EXIT_UNSEEN: u8 = 2;

/// Runs a command. Prints its error, with exit code 2, or 64 if a setting can't be used.
#[expect(clippy::print_stderr, reason = "the answer of a command")]
pub fn main(work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    // One type for all commands, so that what runs them is compiled once.
    let work: Pin<Box<dyn Future<Output = anyhow::Result<ExitCode>> + '_>> = Box::pin(work);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(code) => code,
        // The reader of the pipe has ended.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let is_setting = error.downcast_ref::<BadSetting>().is_some();
            ExitCode::from(if is_setting { EXIT_USAGE } else { EXIT_UNSEEN })
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
