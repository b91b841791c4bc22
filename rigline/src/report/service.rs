//! Makes reports again and again.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use common::harness::{self, Process};
use common::settings::BadSetting;
use common::telemetry;
use model::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::correlations::{CorrelationsArgs, Made, make};
use super::directory::ReportDir;
use super::schedule::due;

/// How often the clock is looked at, which may be set meanwhile.
const LOOK: Duration = Duration::from_secs(10);

/// Makes a report in each interval until a signal. What goes wrong with one is logged, and the next one is made.
pub(super) async fn run(args: CorrelationsArgs, every: Duration) -> anyhow::Result<ExitCode> {
    let started = telemetry::start_logs(args.log_format, &args.log_filter);
    let _logs = started.map_err(|error| {
        let accepted = format!("a level or target=level pairs ({error})");
        BadSetting::new("RUST_LOG (--log)", &args.log_filter, &accepted)
    })?;
    let directory = ReportDir::hold(&args.out)?;
    let process = Process::default();
    let work = Work {
        args,
        directory,
        every,
    };
    harness::until_stopped(work.repeat(&process), &process).await?;
    Ok(ExitCode::SUCCESS)
}

struct Work {
    args: CorrelationsArgs,
    directory: ReportDir,
    every: Duration,
}

impl Work {
    async fn repeat(self, process: &Process) -> anyhow::Result<()> {
        let mut last = self.directory.newest()?;
        let every = common::settings::written(self.every);
        let directory = self.args.out.display().to_string();
        let newest = last.map(|last| last.to_string());
        tracing::info!(every, directory, newest, "makes reports");
        let work = Arc::new(self);
        while !process.stop.is_cancelled() {
            let now = process.clock.now();
            // A time that lies ahead would keep reports away until then.
            last = last.map(|last| last.min(now));
            let due = due(now, last, work.every);
            if due > now {
                process.pause(due.since(now).min(LOOK)).await;
                continue;
            }
            last = Some(now);
            report(Arc::clone(&work), now).await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Makes a report in a thread, for which the end of the process doesn't wait: a report that is broken off is made at
/// the next start.
async fn report(work: Arc<Work>, now: Timestamp) {
    let (done, made) = oneshot::channel();
    let runtime = Handle::current();
    std::thread::spawn(move || {
        let made = runtime.block_on(make(&work.args, &work.directory, now));
        // Nobody waits any more if this fails.
        let _ = done.send(made);
    });
    match made.await {
        Ok(Ok(made)) => log(&made),
        Ok(Err(error)) => {
            let error = format!("{error:#}");
            tracing::error!(error, "cannot make a report, the next one is tried");
        }
        // The panic has been logged.
        Err(_) => tracing::error!("a report was given up, the next one is tried"),
    }
}

fn log(made: &Made) {
    for note in &made.notes {
        tracing::warn!("{note}");
    }
    let [html, ..] = &made.paths;
    let (report, products) = (html.display().to_string(), made.reports.len());
    if made.is_empty() {
        tracing::warn!(report, "wrote a report, but no parameter can be compared");
    } else {
        tracing::info!(report, products, "wrote a report");
    }
}
