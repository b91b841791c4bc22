//! The life cycle of a process: start, logs, metrics, signals, stop, exit code.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cli::{self, ProcessSettings, Program, SideCommand};
use crate::clock::Clock;
use crate::health::Health;
use crate::pipelines::RIGS;
use crate::settings::{BadSetting, Settings};
use crate::{admin, listen, telemetry};

mod parts;

pub use self::parts::Parts;

/// What a stage does in a process.
type Run<'a> =
    Box<dyn FnOnce(Process) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>> + 'a>;

/// The process exits this long after the first signal, even if the stage hasn't returned.
const GRACE: Duration = Duration::from_millis(9_500);

/// The context that a stage runs in.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Cancelled by the first SIGTERM or SIGINT: take no more input, finish the current batch, return.
    pub stop: CancellationToken,
    /// Notified by SIGHUP: read files with users and secrets again.
    pub reload: Arc<Notify>,
    /// The health of the stage and its dependencies.
    pub health: Health,
    /// The wall clock.
    pub clock: Clock,
}

impl Process {
    /// The context of one of several stages in this process. It stops with the process, and its health
    /// is part of the process's.
    #[must_use]
    pub fn for_stage(&self, stage: impl Into<Arc<str>>) -> Self {
        Self {
            stop: self.stop.child_token(),
            reload: self.reload.clone(),
            health: self.health.add_stage(stage),
            clock: self.clock,
        }
    }

    /// The context of a pipeline in a process of one stage.
    #[must_use]
    pub fn for_pipeline(&self, name: &str) -> Self {
        self.for_stage(stage_name(self.health.stage(), name))
    }

    /// Calls `reload` at each SIGHUP.
    pub async fn on_reload(&self, reload: impl Fn()) -> Infallible {
        let mut signal = pin!(self.reload.notified());
        loop {
            signal.as_mut().await;
            // Before files are read: a signal that comes meanwhile counts.
            signal.set(self.reload.notified());
            reload();
        }
    }

    /// Sleeps for `wait`, ticking the health, or until the stop.
    pub async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.stop.cancelled() => {}
            never = self.health.tick_for_ever() => match never {},
        }
    }
}

/// The name of a stage of a pipeline: of `rigs` it is the stage's own.
#[must_use]
pub fn stage_name(stage: &str, pipeline: &str) -> String {
    if pipeline == RIGS {
        stage.to_owned()
    } else {
        format!("{stage}/{pipeline}")
    }
}

/// Takes a name of [`stage_name`] apart: the stage, and the pipeline.
#[must_use]
pub fn stage_and_pipeline(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((name, RIGS))
}

/// Runs a stage as a process: parses and checks settings (exit code 64), starts logs, metrics and
/// the admin listener, runs `run` until it returns (0, 64 after a [`BadSetting`], 1 after other errors), hands it the
/// first SIGTERM or SIGINT as a stop, and ends at once at the second. SIGHUP is a stop if the terminal was
/// closed, and otherwise a request to read files again.
pub fn main<S, F>(
    program: &Program,
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(S, Process) -> F,
) -> ExitCode
where
    S: Settings,
    F: Future<Output = anyhow::Result<()>>,
{
    let (cli, admin_is_default) = match cli::parse::<S>(program, args) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    if let Some(SideCommand::Healthcheck { ready }) = cli.command {
        return cli::healthcheck(cli.process.admin_addr, ready);
    }
    let stage = cli.stage;
    // What follows is compiled once for all stages.
    let run: Run<'_> = Box::new(|process| Box::pin(run(stage, process)));
    start(program, &cli.process, admin_is_default, run)
}

fn start(
    program: &Program,
    settings: &ProcessSettings,
    admin_is_default: bool,
    run: Run<'_>,
) -> ExitCode {
    let (format, filter) = (settings.log_format, &settings.log_filter);
    let _logs = match telemetry::start_logs(format, filter) {
        Ok(guard) => guard,
        Err(error) => {
            let accepted = format!("a level or target=level pairs ({error})");
            return cli::exit_for(&BadSetting::new("RUST_LOG", filter, &accepted));
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
    let ended = runtime.block_on(supervise(program, settings, admin_is_default, run));
    // Blocking threads and idle connections must not hold up the exit.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended with an error");
            if error.downcast_ref::<BadSetting>().is_some() {
                ExitCode::from(cli::EXIT_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn supervise(
    program: &Program,
    settings: &ProcessSettings,
    admin_is_default: bool,
    run: Run<'_>,
) -> anyhow::Result<()> {
    let metrics = telemetry::start_metrics()?;
    let process = Process {
        health: Health::for_stage(program.name),
        ..Process::default()
    };
    let listener =
        listen::bind("admin", "ADMIN_ADDR", settings.admin_addr, admin_is_default).await?;
    let admin_addr = listener.local_addr()?;
    tracing::info!(stage = program.name, version = env!("CARGO_PKG_VERSION"), %admin_addr, "started");
    let served = CancellationToken::new();
    let upkeep = tokio::spawn(telemetry::upkeep(metrics.clone()));
    let admin = tokio::spawn(admin::serve(
        listener,
        process.health.clone(),
        metrics,
        served.clone(),
    ));
    let outer = process.clone();
    let work = run(process);
    let ended = until_stopped(work, &outer).await;
    served.cancel();
    admin.abort();
    upkeep.abort();
    if ended.is_ok() {
        tracing::info!(stage = program.name, "stopped");
    }
    ended
}

/// Runs `work` until it returns. The first SIGTERM or SIGINT cancels `process.stop`, and `work` has 9.5 s to return from
/// then on; a second one is an error at once. SIGHUP notifies `process.reload`, or is a stop if the terminal was closed.
pub async fn until_stopped(
    work: impl Future<Output = anyhow::Result<()>>,
    process: &Process,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    tokio::pin!(work);
    loop {
        let signal = tokio::select! {
            ended = &mut work => return ended,
            signal = signals.next() => signal,
        };
        match signal {
            Signal::Stop(signal) => {
                tracing::info!(signal, "stopping");
                break;
            }
            Signal::Reload => {
                tracing::info!("received SIGHUP");
                process.reload.notify_waiters();
            }
        }
    }
    process.stop.cancel();
    tokio::select! {
        ended = work => ended,
        signal = signals.next_stop() => anyhow::bail!("second signal ({signal}), ending at once"),
        () = tokio::time::sleep(GRACE) => anyhow::bail!("not stopped within {GRACE:?}"),
    }
}

/// What a signal asks for.
enum Signal {
    /// To stop; with the signal's name.
    Stop(&'static str),
    /// To read files again.
    Reload,
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    /// It had a terminal when the process started.
    had_terminal: bool,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?,
            hang_up: signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?,
            had_terminal: has_terminal(),
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hang_up.recv() => {
                if self.had_terminal && !has_terminal() {
                    Signal::Stop("SIGHUP")
                } else {
                    Signal::Reload
                }
            }
        }
    }

    async fn next_stop(&mut self) -> &'static str {
        loop {
            if let Signal::Stop(signal) = self.next().await {
                return signal;
            }
        }
    }
}

/// Whether a terminal is open. One that was closed no longer counts as a terminal.
fn has_terminal() -> bool {
    stdin().is_terminal() || stdout().is_terminal() || stderr().is_terminal()
}
