//! Commands on pipeline files.

mod new;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use common::pipelines::{FileError, built_in_descriptor, built_in_files, built_in_text, read};
use model::pipeline::PipelineFile;

use self::new::NewArgs;
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
    /// List the built-in pipelines
    List,
    /// Print the file of a built-in pipeline, or a set of descriptors that it names
    Show {
        /// The name of the pipeline, or of the set of descriptors
        name: String,
    },
    /// Check pipeline files; exit code 64 if one can't be used
    Check {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
    /// Listen to a broker for a while, and write a file that fits what came
    New(NewArgs),
}

/// Runs the command.
pub async fn run(args: &PipelinesArgs) -> anyhow::Result<ExitCode> {
    let mut out = stdout();
    match &args.command {
        PipelinesCommand::List => {
            for (name, text) in built_in_files() {
                let about = text.lines().next().unwrap_or_default();
                writeln!(out, "{name:<16} {}", about.trim_start_matches(['#', ' ']))?;
            }
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
        PipelinesCommand::Show { name } => {
            let text = built_in_text(name).map(str::as_bytes);
            let Some(content) = text.or_else(|| built_in_descriptor(name)) else {
                let names: Vec<_> = built_in_files().iter().map(|(name, _)| *name).collect();
                bail!(
                    "there is no built-in pipeline {name:?}; there are {}",
                    names.join(", ")
                );
            };
            out.write_all(content)?;
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
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
        PipelinesCommand::New(args) => {
            new::run(args).await?;
            Ok(ExitCode::SUCCESS)
        }
        PipelinesCommand::Schema => {
            let schema = serde_json::to_string_pretty(&PipelineFile::schema())?;
            writeln!(out, "{schema}")?;
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Prints why a file can't be used.
#[expect(clippy::print_stderr, reason = "the answer of a command")]
pub(crate) fn report(error: &FileError) {
    match error {
        FileError::Unreadable { .. } | FileError::NoDescriptors { .. } => {
            eprintln!("error: {error}");
        }
        FileError::Unusable(error) => eprintln!("{error}"),
    }
}
