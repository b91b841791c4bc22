//! Logs and metrics of a process.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::Duration;

use clap::ValueEnum;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::metric;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text on a terminal, JSON otherwise.
    Auto,
    /// Plain text.
    Human,
    /// One JSON object a line.
    Json,
}

/// Most lines that wait to be written. Further lines are dropped.
const WAITING_LINES: usize = 4_096;

/// How long the process waits at its end for the last lines to be written.
const LAST_LINES: Duration = Duration::from_millis(1_500);

/// The running log writer. Dropping it waits, for at most 1.5 s, until the last lines are written.
#[derive(Debug)]
pub struct Logs {
    guard: Option<WorkerGuard>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        let guard = self.guard.take();
        let (done, is_done) = mpsc::channel::<()>();
        // In a thread of its own: the guard prints its errors to standard output, which may block.
        std::thread::spawn(move || {
            drop(guard);
            drop(done);
        });
        let _ = is_done.recv_timeout(LAST_LINES);
    }
}

/// Libraries whose lines are left out unless the filter names them: their errors are returned to us, and we log them
/// once, as long as they last.
const QUIET: &str = "krafka=off";

/// Starts logging to standard error, panics included. A thread writes the lines, so that a blocked
/// reader or a full disk doesn't block the stage.
pub fn start_logs(format: LogFormat, filter: &str) -> Result<Logs, String> {
    let filter = targets(filter)?;
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
        // The filter decides.
        .with_max_level(LevelFilter::TRACE)
        .with_writer(writer)
        // By default, an error of writing the log is printed to standard error, which panics.
        .log_internal_errors(false);
    let started = if human {
        let logs = logs.with_ansi(terminal).with_target(false).finish();
        logs.with(filter).try_init()
    } else {
        logs.json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .with(filter)
            .try_init()
    };
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(error = %panic, "panicked");
    }));
    started.map_err(|error| error.to_string())?;
    Ok(Logs { guard: Some(guard) })
}

/// Parses a level and `target=level` pairs, separated by commas.
fn targets(filter: &str) -> Result<Targets, String> {
    let parts = filter.split(',').map(str::trim);
    let parts: Vec<_> = std::iter::once(QUIET)
        .chain(parts.filter(|part| !part.is_empty()))
        .collect();
    parts
        .join(",")
        .parse()
        .map_err(|error: ParseError| error.to_string())
}

/// Interval at which [`upkeep`] condenses histograms.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// Condenses histograms until it is dropped. Without it, the recorder keeps every sample of a histogram
/// until the next scrape.
pub async fn upkeep(metrics: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        metrics.run_upkeep();
    }
}

/// Starts the metrics recorder. The handle renders the metrics in Prometheus's text format.
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

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::targets;

    #[test]
    fn log_filter_is_a_level_or_target_level_pairs() {
        let is_enabled =
            |filter, target, level| targets(filter).unwrap().would_enable(target, &level);
        for filter in [
            "warn",
            "WARN",
            "warn,",
            " sink=error , warn",
            "sink=error,,warn",
        ] {
            assert!(is_enabled(filter, "queue", Level::WARN), "{filter:?}");
            assert!(!is_enabled(filter, "queue", Level::INFO), "{filter:?}");
            assert!(!is_enabled(filter, "krafka", Level::ERROR), "{filter:?}");
        }
        assert!(!is_enabled("sink=error,warn", "sink::run", Level::WARN));
        assert!(is_enabled("krafka=debug", "krafka", Level::DEBUG));
        for filter in ["a=b=c", "sink=loud"] {
            assert!(targets(filter).is_err(), "{filter:?}");
        }
    }
}
