//! Commands on pipeline files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use model::pipeline::{PipelineError, PipelineFile};

use crate::cli::EXIT_USAGE;
use crate::inspect::output::stdout;

/// The arguments.
#[derive(Debug, Args)]
pub struct PipelinesArgs {
    #[command(subcommand)]
    command: PipelinesCommand,
}

#[derive(Debug, Subcommand)]
enum PipelinesCommand {
    /// Check pipeline files; exit code 64 if one can't be used
    Check {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
}

/// Why a pipeline file can't be used.
#[derive(Debug)]
pub(crate) enum FileError {
    /// It can't be read.
    Unreadable(anyhow::Error),
    /// Its content can't be used.
    Unusable(PipelineError),
}

/// Runs the command.
pub fn run(args: &PipelinesArgs) -> anyhow::Result<ExitCode> {
    let mut out = stdout();
    match &args.command {
        PipelinesCommand::Check { files } => {
            let mut code = ExitCode::SUCCESS;
            for file in files {
                match read(file) {
                    Ok(pipeline) => {
                        let (name, path) = (pipeline.name.as_str(), file.display());
                        writeln!(
                            out,
                            "{path}: pipeline {name}, shape {}",
                            pipeline.shape().name()
                        )?;
                    }
                    Err(error) => {
                        report(&error);
                        code = ExitCode::from(EXIT_USAGE);
                    }
                }
            }
            out.flush()?;
            Ok(code)
        }
        PipelinesCommand::Schema => {
            let schema = serde_json::to_string_pretty(&PipelineFile::schema())?;
            writeln!(out, "{schema}")?;
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Reads a pipeline file; its variables are those of the environment.
pub(crate) fn read(path: &Path) -> Result<PipelineFile, FileError> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(FileError::Unreadable)?;
    let variable = |name: &str| std::env::var(name).ok();
    PipelineFile::parse(&path.display().to_string(), &text, &variable).map_err(FileError::Unusable)
}

/// Prints why a file can't be used.
#[expect(clippy::print_stderr, reason = "the answer of a command")]
pub(crate) fn report(error: &FileError) {
    match error {
        FileError::Unreadable(error) => eprintln!("error: {error:#}"),
        FileError::Unusable(error) => eprintln!("{error}"),
    }
}
