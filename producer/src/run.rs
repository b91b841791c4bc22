//! Sends all readings, and waits for the broker's acknowledgements.

use std::time::Duration;

use common::harness::{Parts, Process};
use common::metric;
use common::pipelines::Pipeline;
use metrics::counter;
use tokio::time::timeout;
use transport::{Counts, Publisher};

use crate::outlet::Outlet;
use crate::progress::{PROGRESS, Show};
use crate::replay::Replay;
use crate::schedule::Schedule;
use crate::settings::ProducerSettings;
use crate::simulated;

/// How long a stop waits for acknowledgements. With [`DISCONNECT_LIMIT`] it is less than a process has to
/// stop in.
pub(crate) const DRAIN: Duration = Duration::from_secs(9);
pub(crate) const DISCONNECT_LIMIT: Duration = Duration::from_millis(300);

/// Sends the readings of a fleet or of a file until the process stops, or up to the configured count or
/// duration, and waits for the broker's acknowledgements. Logs its progress.
pub async fn run(settings: ProducerSettings, process: Process) -> anyhow::Result<()> {
    run_with(settings, process, Show::Lines).await
}

/// Like [`run`], with this display of progress, which is of the pipeline `rigs` alone.
pub(crate) async fn run_with(
    settings: ProducerSettings,
    process: Process,
    show: Show,
) -> anyhow::Result<()> {
    let pipelines = settings.pipelines.all();
    if let [Pipeline::Rigs(_)] = pipelines {
        return run_rigs(settings, process, show).await;
    }
    let mut running = Parts::default();
    for pipeline in pipelines {
        let (settings, process) = (settings.clone(), process.for_pipeline(pipeline.name()));
        let pipeline = pipeline.clone();
        running.spawn(async move {
            match pipeline {
                Pipeline::Rigs(_) => run_rigs(settings, process, Show::Lines).await,
                Pipeline::File(file) => simulated::run(&file, &settings, &process).await,
            }
        });
    }
    let mut result = Ok(());
    while let Some(ended) = running.next(&process, "pipeline").await {
        if ended.is_err() {
            process.stop.cancel();
        }
        result = result.and(ended);
    }
    result
}

async fn run_rigs(settings: ProducerSettings, process: Process, show: Show) -> anyhow::Result<()> {
    let client_id = settings
        .mqtt
        .client_id_or(|| format!("rigline-producer-{:08x}", fastrand::u32(..)));
    let acknowledged = counter!(metric::PRODUCED, "state" => "acknowledged");
    let dependency = process.health.dependency("mqtt");
    let publisher = Publisher::start(&settings.mqtt, &client_id, dependency, move |_| {
        acknowledged.increment(1);
    });
    let source = Source::new(&settings, &process);
    let outlet = Outlet::new(&publisher);

    let ended = tokio::select! {
        biased;
        () = process.stop.cancelled() => Ok(()),
        () = show.progress(&publisher, &outlet, &process.health) => Ok(()),
        ended = send_all(&source, &publisher, &outlet, settings.fleet.duration) => ended,
    };
    if process.stop.is_cancelled() {
        publisher.drain(DRAIN).await;
    }
    let counts = publisher.counts();
    log_totals(counts);
    // The broker may be gone.
    let _ = timeout(DISCONNECT_LIMIT, publisher.close()).await;
    ended.and(source.check()).and_then(|()| check_sizes(counts))
}

/// Returns an error if messages were dropped that are larger than the broker takes.
pub(crate) fn check_sizes(counts: Counts) -> anyhow::Result<()> {
    let dropped = counts.too_large;
    anyhow::ensure!(
        dropped == 0,
        "dropped {dropped} messages that are larger than the broker takes"
    );
    Ok(())
}

/// Sends for `duration`, or to the end, and waits until all are acknowledged.
async fn send_all(
    source: &Source,
    publisher: &Publisher,
    outlet: &Outlet<'_>,
    duration: Option<Duration>,
) -> anyhow::Result<()> {
    let sending = source.send(outlet);
    match duration {
        Some(limit) => timeout(limit, sending).await.unwrap_or(Ok(()))?,
        None => sending.await?,
    }
    tracing::info!(sent = publisher.counts().sent, "all readings are sent");
    while !publisher.drain(PROGRESS).await {}
    Ok(())
}

fn log_totals(counts: Counts) {
    let Counts {
        sent,
        acknowledged,
        too_large,
        unacknowledged,
    } = counts;
    if unacknowledged == 0 && too_large == 0 {
        tracing::info!(sent, acknowledged, unacknowledged, "done");
    } else {
        tracing::warn!(
            sent,
            acknowledged,
            too_large,
            unacknowledged,
            "done, but not all are acknowledged"
        );
    }
}

/// The source of the readings.
enum Source {
    Fleet(Schedule),
    File(Replay),
}

impl Source {
    fn new(settings: &ProducerSettings, process: &Process) -> Self {
        let (fleet, replay) = (&settings.fleet, &settings.replay);
        match replay.recording() {
            Some(file) => Self::File(Replay::new(file.clone(), replay.speed(), fleet.count)),
            None => Self::Fleet(Schedule::new(fleet, process.clock)),
        }
    }

    async fn send(&self, outlet: &Outlet<'_>) -> anyhow::Result<()> {
        match self {
            Self::Fleet(schedule) => schedule.send(outlet).await,
            Self::File(replay) => replay.send(outlet).await,
        }
    }

    /// Returns an error if lines of the file were skipped.
    fn check(&self) -> anyhow::Result<()> {
        match self {
            Self::Fleet(_) => Ok(()),
            Self::File(replay) => replay.check_skipped(),
        }
    }
}
