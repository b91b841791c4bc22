//! What every process does around its stage: settings, logs, signals, exit codes.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::Health;
use crate::settings::{BadSetting, Settings};
use crate::telemetry::{self, LogFormat};
use crate::{admin, metric};

#[cfg(test)]
mod tests;

/// Bad settings: the `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
const AFTER_HELP: &str =
    "Every setting is also the environment variable shown beside it; a flag wins.";
/// A stage that hasn't stopped by itself this long after the first signal is left behind.
const GRACE: Duration = Duration::from_millis(9_500);

/// What the harness needs to know of a program.
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

/// What the harness hands to a stage.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Cancelled by the first SIGTERM or SIGINT: stop taking, finish what is in hand, return.
    pub stop: CancellationToken,
    /// Where the stage reports what it depends on.
    pub health: Health,
    /// The wall clock.
    pub clock: Clock,
}

impl Process {
    /// What a stage gets that runs in this process beside others: it stops with them, and its health
    /// is a part of theirs.
    #[must_use]
    pub fn part(&self, stage: &'static str) -> Self {
        Self {
            stop: self.stop.child_token(),
            health: self.health.part(stage),
            clock: self.clock,
        }
    }

    /// Waits, showing signs of life; less long at a stop.
    pub async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.stop.cancelled() => {}
            never = self.health.tick_for_ever() => match never {},
        }
    }
}

#[derive(Debug, Parser)]
#[command(version)]
struct Cli<S: Args> {
    #[command(flatten)]
    stage: S,
    #[command(flatten)]
    process: ProcessSettings,
    #[command(subcommand)]
    command: Option<SideCommand>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
struct ProcessSettings {
    /// Where /healthz, /readyz and /metrics listen
    #[arg(
        long,
        env = "ADMIN_ADDR",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9100"
    )]
    admin_addr: SocketAddr,
    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", default_value = "auto", value_enum)]
    log_format: LogFormat,
    /// Which log lines are shown: a level, or target=level pairs
    #[arg(
        long = "log",
        env = "RUST_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    log_filter: String,
}

#[derive(Debug, Subcommand)]
enum SideCommand {
    /// Ask the process on `ADMIN_ADDR` whether it is alive; exit code 0 if so
    Healthcheck {
        /// Ask whether all its dependencies are up, too
        #[arg(long)]
        ready: bool,
    },
}

/// Runs a stage as a process: parses and checks settings (exit code 64), starts logs, metrics and
/// the admin listener, runs `run` until it returns (0, or 1 with its error), hands it the first
/// SIGTERM or SIGINT as a stop, and ends at once at the second.
pub fn main<S, F>(
    program: &Program,
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(S, Process) -> F,
) -> ExitCode
where
    S: Settings,
    F: Future<Output = anyhow::Result<()>>,
{
    let (cli, admin_is_default) = match parse::<S>(program, args) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    if let Some(SideCommand::Healthcheck { ready }) = cli.command {
        return healthcheck(cli.process.admin_addr, ready);
    }
    let (format, filter) = (cli.process.log_format, &cli.process.log_filter);
    let _logs = match telemetry::start_logs(format, filter) {
        Ok(guard) => guard,
        Err(error) => {
            let accepted = format!("a level or target=level pairs ({error})");
            return usage(&BadSetting::new("RUST_LOG", filter, &accepted));
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(supervise(program, cli, admin_is_default, run));
    // Blocking threads and idle connections must not hold up the exit.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended with an error");
            ExitCode::FAILURE
        }
    }
}

async fn supervise<S, F>(
    program: &Program,
    cli: Cli<S>,
    admin_is_default: bool,
    run: impl FnOnce(S, Process) -> F,
) -> anyhow::Result<()>
where
    S: Settings,
    F: Future<Output = anyhow::Result<()>>,
{
    let metrics = telemetry::start_metrics()?;
    let process = Process {
        health: Health::of(program.name),
        ..Process::default()
    };
    let listener = admin::bind(cli.process.admin_addr, admin_is_default).await?;
    let admin_addr = listener.local_addr()?;
    tracing::info!(stage = program.name, version = env!("CARGO_PKG_VERSION"), %admin_addr, "started");
    let served = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(
        listener,
        process.health.clone(),
        metrics,
        served.clone(),
    ));
    let stop = process.stop.clone();
    let work = run(cli.stage, process);
    let ended = until_stopped(work, &stop).await;
    served.cancel();
    admin.abort();
    if ended.is_ok() {
        tracing::info!(stage = program.name, "stopped");
    }
    ended
}

async fn until_stopped(
    work: impl Future<Output = anyhow::Result<()>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    tokio::pin!(work);
    tokio::select! {
        ended = &mut work => return ended,
        name = signals.next() => tracing::info!(signal = name, "stopping"),
    }
    stop.cancel();
    tokio::select! {
        ended = work => ended,
        name = signals.next() => anyhow::bail!("second signal ({name}), ending at once"),
        () = tokio::time::sleep(GRACE) => anyhow::bail!("not stopped within {GRACE:?}"),
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn command<S: Settings>(program: &Program) -> Command {
    Cli::<S>::command()
        .name(program.name)
        .about(program.about)
        .mut_arg("admin_addr", |arg| arg.default_value(program.admin_addr))
        .mut_arg("log_filter", |arg| arg.default_value(program.log_filter))
        .mut_args(unless_empty)
        .after_help(AFTER_HELP)
}

/// An empty variable counts as one that isn't set: in a file of variables that is what `NAME=` is for.
fn unless_empty(arg: Arg) -> Arg {
    let value = arg.get_env().and_then(std::env::var_os);
    if value.is_some_and(|value| value.is_empty()) {
        arg.env(Resettable::Reset)
    } else {
        arg
    }
}

/// The checked settings, and whether the admin address is the default; or the exit code.
fn parse<S: Settings>(
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
    let (mut cli, is_default) = parsed.map_err(|error| refuse(&command, &error))?;
    if cli.command.is_none() {
        cli.stage.check().map_err(|bad| usage(&bad))?;
    }
    Ok((cli, is_default))
}

/// The checked settings of a command that is no stage; or the exit code, after saying why.
pub fn settings<S: Settings>(
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
    let mut settings = parsed.map_err(|error| refuse(&command, &error))?;
    settings.check().map_err(|bad| usage(&bad))?;
    Ok(settings)
}

/// Says what clap found wrong, naming the environment variable where there is one.
fn refuse(command: &Command, error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if let Some(bad) = bad_setting(command, error) {
        return usage(&bad);
    }
    let _ = error.print();
    ExitCode::from(EXIT_USAGE)
}

fn bad_setting(command: &Command, error: &clap::Error) -> Option<BadSetting> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return None;
    }
    let shown = text(ContextKind::InvalidArg)?;
    let flag = shown
        .split(' ')
        .next()
        .unwrap_or_default()
        .trim_start_matches("--")
        .to_owned();
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(&flag))?;
    let variable = arg.get_env().map_or_else(
        || format!("--{flag}"),
        |name| format!("{} (--{flag})", name.to_string_lossy()),
    );
    let accepted = std::error::Error::source(error)
        .map(ToString::to_string)
        .or_else(|| text(ContextKind::ValidValue))
        .unwrap_or_else(|| "see --help".to_owned());
    Some(BadSetting::new(
        &variable,
        &text(ContextKind::InvalidValue)?,
        &accepted,
    ))
}

#[expect(
    clippy::print_stderr,
    reason = "settings are checked before logging starts"
)]
fn usage(bad: &BadSetting) -> ExitCode {
    eprintln!("error: {bad}");
    ExitCode::from(EXIT_USAGE)
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the answer of a command"
)]
fn healthcheck(addr: SocketAddr, ready: bool) -> ExitCode {
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

/// Shows the length and the limit of a list, where a stage learns them.
pub fn show_list(list: &'static str, length: usize, limit: usize) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
    let (length, limit) = (length as f64, limit as f64);
    metrics::gauge!(metric::LIST_LENGTH, "list" => list).set(length);
    metrics::gauge!(metric::LIST_LIMIT, "list" => list).set(limit);
}
