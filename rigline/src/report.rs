//! The command `report`: which parameters correlate with the production of each product.

mod correlations;
mod directory;
mod example;
mod inputs;
mod schedule;
mod service;
mod tables;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::correlations::CorrelationsArgs;
use self::example::ExampleArgs;

/// The arguments.
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(subcommand)]
    kind: ReportKind,
}

#[derive(Debug, Subcommand)]
enum ReportKind {
    /// Rank the parameters that correlate with the production of each product. Writes `report_TIME.html`, .csv and .json;
    /// exit code 1 if nothing can be compared, or a file can't be read to its end
    Correlations(Box<CorrelationsArgs>),
    /// Write files of metrics and work orders in which it is known what correlates, and say what
    Example(ExampleArgs),
}

/// Runs the command.
pub async fn run(args: ReportArgs) -> anyhow::Result<ExitCode> {
    match args.kind {
        ReportKind::Correlations(args) => match args.every {
            Some(every) => service::run(*args, every).await,
            None => correlations::once(&args).await,
        },
        ReportKind::Example(args) => example::write(&args),
    }
}
