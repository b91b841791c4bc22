//! The command line of every program: parsing, checking, and the errors of bad settings.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::admin;
use crate::settings::{BadSetting, Settings};
use crate::telemetry::LogFormat;

#[cfg(test)]
mod tests;

/// The exit code for settings that can't be used: `EX_USAGE` of sysexits.h.
pub(crate) const EXIT_USAGE: u8 = 64;
const AFTER_HELP: &str =
    "Every setting is also the environment variable shown beside it; a flag wins.";

/// A program's name and defaults.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The binary's name.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// The default of `ADMIN_ADDR`.
    pub admin_addr: &'static str,
    /// The default of `RUST_LOG`.
    pub log_filter: &'static str,
}

#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli<S: Args> {
    #[command(flatten)]
    pub(crate) stage: S,
    #[command(flatten)]
    pub(crate) process: ProcessSettings,
    #[command(subcommand)]
    pub(crate) command: Option<SideCommand>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessSettings {
    /// Where /healthz, /readyz and /metrics listen
    #[arg(
        long,
        env = "ADMIN_ADDR",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9100"
    )]
    pub(crate) admin_addr: SocketAddr,
    /// Format of log lines
    #[arg(long, env = "LOG_FORMAT", default_value = "auto", value_enum)]
    pub(crate) log_format: LogFormat,
    /// Which log lines are shown: a level, or target=level pairs
    #[arg(
        long = "log",
        env = "RUST_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub(crate) log_filter: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SideCommand {
    /// Ask the process on `ADMIN_ADDR` whether it is alive; exit code 0 if so
    Healthcheck {
        /// Ask whether all its dependencies are up, too
        #[arg(long)]
        ready: bool,
    },
}

fn command<S: Settings>(program: &Program) -> Command {
    Cli::<S>::command()
        .name(program.name)
        .about(program.about)
        .mut_arg("admin_addr", |arg| arg.default_value(program.admin_addr))
        .mut_arg("log_filter", |arg| arg.default_value(program.log_filter))
        .mut_args(ignore_if_empty)
        .after_help(AFTER_HELP)
}

/// Treats an empty variable as unset, since `NAME=` in an environment file means that.
fn ignore_if_empty(arg: Arg) -> Arg {
    let value = arg.get_env().and_then(std::env::var_os);
    if value.is_some_and(|value| value.is_empty()) {
        arg.env(Resettable::Reset)
    } else {
        arg
    }
}

/// The checked settings and whether the admin address is the default, or the exit code after printing
/// the error.
pub(crate) fn parse<S: Settings>(
    program: &Program,
    args: impl IntoIterator<Item = OsString>,
) -> Result<(Cli<S>, bool), ExitCode> {
    let command = command::<S>(program);
    let parsed = command
        .clone()
        .try_get_matches_from(args)
        .and_then(|matches| {
            let is_default = matches.value_source("admin_addr") == Some(ValueSource::DefaultValue);
            Cli::<S>::from_arg_matches(&matches).map(|cli| (cli, is_default))
        });
    let (mut cli, is_default) = parsed.map_err(|error| print_error(&command, &error))?;
    if cli.command.is_none() {
        cli.stage.check().map_err(|bad| exit_for(&bad))?;
    }
    Ok((cli, is_default))
}

/// The checked settings of a command that isn't a stage, or the exit code after printing the error.
pub fn parse_settings<S: Settings>(
    name: &'static str,
    about: &'static str,
    args: impl IntoIterator<Item = OsString>,
) -> Result<S, ExitCode> {
    let command = S::augment_args(Command::new(name))
        .about(about)
        .after_help(AFTER_HELP);
    let parsed = command
        .clone()
        .try_get_matches_from(args)
        .and_then(|matches| S::from_arg_matches(&matches));
    let mut settings = parsed.map_err(|error| print_error(&command, &error))?;
    settings.check().map_err(|bad| exit_for(&bad))?;
    Ok(settings)
}

/// Prints an error of clap. A bad value is reported under the name of its environment variable.
fn print_error(command: &Command, error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if let Some(bad) = bad_setting(command, error) {
        return exit_for(&bad);
    }
    let _ = error.print();
    ExitCode::from(EXIT_USAGE)
}

fn bad_setting(command: &Command, error: &clap::Error) -> Option<BadSetting> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.clone()),
        Some(ContextValue::Strings(values)) => Some(values.join(", ")),
        _ => None,
    };
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return None;
    }
    // Such as `--lease <LEASE>`.
    let shown = context(ContextKind::InvalidArg)?;
    let flag = shown.split(' ').next()?.trim_start_matches("--");
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(flag))?;
    let variable = arg.get_env().map_or_else(
        || format!("--{flag}"),
        |name| format!("{} (--{flag})", name.to_string_lossy()),
    );
    let accepted = std::error::Error::source(error)
        .map(ToString::to_string)
        .or_else(|| context(ContextKind::ValidValue))
        .unwrap_or_else(|| "see --help".to_owned());
    Some(BadSetting::new(
        &variable,
        &context(ContextKind::InvalidValue)?,
        &accepted,
    ))
}

#[expect(
    clippy::print_stderr,
    reason = "settings are checked before logging starts"
)]
pub(crate) fn exit_for(bad: &BadSetting) -> ExitCode {
    eprintln!("error: {bad}");
    ExitCode::from(EXIT_USAGE)
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the output of a command"
)]
pub(crate) fn healthcheck(addr: SocketAddr, ready: bool) -> ExitCode {
    match admin::check(addr, if ready { "/readyz" } else { "/healthz" }) {
        Ok(body) => {
            println!("{body}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
