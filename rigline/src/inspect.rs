//! A look at what there is, also beside a process that works on it.

pub mod dlq;
pub mod ledger;
pub mod lists;
pub(crate) mod output;
pub mod rigs;
pub mod rows;
pub mod stored;
pub mod users;

use std::io;
use std::process::ExitCode;

/// What a look ended with when there was nothing to be seen: neither yes nor no.
const EXIT_UNSEEN: u8 = 2;

/// Runs a command that ends by itself; its error is said, and is exit code 2.
#[expect(clippy::print_stderr, reason = "the answer of a command")]
pub fn main(work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
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
        // Whoever read has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(EXIT_UNSEEN)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
