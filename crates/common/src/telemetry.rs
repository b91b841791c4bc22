//! Logs and metrics of a process.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::Duration;

use clap::ValueEnum;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::metric;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Lines that wait to be written; beyond them, lines are dropped.
const WAITING_LINES: usize = 4_096;

/// How long the last lines may take to be written.
const LAST_LINES: Duration = Duration::from_millis(1_500);

/// Logs that are being written; dropped at the end of the process, it waits for the last lines, but
/// not for long.
#[derive(Debug)]
pub struct Logs {
    guard: Option<WorkerGuard>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        let guard = self.guard.take();
        let (done, is_done) = mpsc::channel::<()>();
        // In a thread of its own: it complains on standard output, where nobody may be reading either.
        std::thread::spawn(move || {
            drop(guard);
            drop(done);
        });
        let _ = is_done.recv_timeout(LAST_LINES);
    }
}

/// Starts logging to standard error. A panic is logged too, instead of printed raw. Lines are written
/// by a thread of their own: one that can't be written (a reader that stands still, a full disk) is
/// waited for by nobody.
pub fn start_logs(format: LogFormat, filter: &str) -> Result<Logs, String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let terminal = std::io::stderr().is_terminal();
    let human = match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stderr());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // A log that can't be written (a full disk, a reader that went away) must not stop the
        // readings; by default the failure is printed to the same place, which panics.
        .log_internal_errors(false);
    let started = if human {
        logs.with_ansi(terminal).with_target(false).try_init()
    } else {
        logs.json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    };
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(error = %panic, "panicked");
    }));
    started.map_err(|error| error.to_string())?;
    Ok(Logs { guard: Some(guard) })
}

/// Starts collecting metrics; the handle renders them as Prometheus text.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full(metric::STORE_DELAY.to_owned()),
            &metric::DELAY_BUCKETS,
        )?
        .set_buckets_for_metric(
            Matcher::Full(metric::BATCH_SIZE.to_owned()),
            &metric::BATCH_BUCKETS,
        )?
        .install_recorder()?;
    metric::describe();
    Ok(handle)
}
