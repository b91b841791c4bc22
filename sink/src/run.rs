//! Writes rows of the normalized list to the stores of a pipeline.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::ensure;
use common::faults::{self, Point};
use common::harness::Process;
use common::metric;
use metrics::{counter, histogram};
use model::dead_letter::{Reason, Rejection};
use model::{Layout, Stage, Timestamp};
use queue::consume::{self, Changes, Decision, IDLE_POLL, Processor, consume};
use queue::ledger::{Counter, delta};
use queue::rejected::{DeadLetterEncoder, Input, Rejected};
use queue::settings::QueueSettings;
use queue::{Queue, State};
use store::Store;

use crate::batch::DecodedBatch;
use crate::target::Target;

const STAGE: Stage = Stage::Sink;

/// A store with the name that dead letters, health and metrics give it.
#[derive(Debug, Clone)]
pub struct NamedStore<S> {
    /// Unique among the stores of a pipeline.
    pub name: String,
    /// The store.
    pub store: S,
}

/// Runs with one store until the process stops. Errors of queue and store are retried.
pub async fn run<Q: Queue, S: Store>(
    settings: QueueSettings,
    queue: Q,
    store: S,
    process: Process,
) -> anyhow::Result<()> {
    let name = "store".to_owned();
    run_with_stores(settings, queue, vec![NamedStore { name, store }], process).await
}

/// Runs with several stores until the process stops. A batch is written to one store after another, and taken off the
/// list when all have it; while one of them is unavailable, the pipeline waits.
pub async fn run_with_stores<Q: Queue, S: Store>(
    settings: QueueSettings,
    queue: Q,
    stores: Vec<NamedStore<S>>,
    process: Process,
) -> anyhow::Result<()> {
    ensure!(!stores.is_empty(), "a pipeline needs a store");
    let is_single = stores.len() == 1;
    let target = |NamedStore { name, store }| {
        let up = if is_single {
            process.health.dependency("store")
        } else {
            process.health.dependency(format!("store-{name}"))
        };
        Target::new(name, store, up)
    };
    let sink = Sink {
        targets: stores.into_iter().map(target).collect(),
        list: settings.normalized_queue.clone(),
        layout: settings.layout,
        dead_letters: DeadLetterEncoder::new(STAGE, &settings.limits),
        process: process.clone(),
    };
    let Ok(()) = consume(queue, Stage::Sink, &settings, &process, sink).await;
    Ok(())
}

struct Sink<S> {
    /// At least one, in the order in which they are written to.
    targets: Vec<Target<S>>,
    list: String,
    layout: Layout,
    dead_letters: DeadLetterEncoder,
    process: Process,
}

/// The times of the stored rows, for the metrics after the commit.
struct Summary {
    stored: Vec<Timestamp>,
}

/// The stores that refused a row, with their messages.
type Refusals<'a> = Vec<(&'a str, &'a str)>;

impl<S: Store> Processor for Sink<S> {
    type Summary = Summary;
    type Error = Infallible;

    fn load(&mut self, _: State) -> Result<(), Infallible> {
        self.forget();
        Ok(())
    }

    async fn process(&mut self, batch: &consume::Batch) -> Result<Decision<Summary>, Infallible> {
        let items = &batch.peek.items;
        if items.is_empty() {
            return Ok(Decision::Wait(self.preflight().await));
        }
        let names: Vec<_> = self.targets.iter().map(|target| &*target.name).collect();
        let decoded = DecodedBatch::decode(self.layout, items, &names);
        faults::reach(Point::BeforeWrite);
        let written = self.write(&decoded).await;
        faults::reach(Point::AfterWrite);
        if let Err(wait) = written {
            return Ok(Decision::Wait(wait));
        }
        let (dead, stored) = self.judge(items, &decoded);
        let changes = Changes {
            dead,
            counts: vec![(Counter::RowsStored, delta(stored.len()))],
            ..Changes::default()
        };
        Ok(Decision::Commit(changes, Summary { stored }))
    }

    fn committed(&mut self, summary: Summary) {
        self.forget();
        counter!(metric::ROWS, "kind" => "stored").increment(summary.stored.len() as u64);
        let now = self.process.clock.now();
        let delays = histogram!(metric::STORE_DELAY);
        for tick in summary.stored {
            delays.record(now.since(tick).as_secs_f64());
        }
    }
}

impl<S: Store> Sink<S> {
    fn forget(&mut self) {
        for target in &mut self.targets {
            target.forget();
        }
    }

    /// Writes a batch to the stores in their order, up to the first one that fails.
    async fn write(&mut self, batch: &DecodedBatch<'_>) -> Result<(), Duration> {
        for target in &mut self.targets {
            target.write(batch).await?;
        }
        Ok(())
    }

    /// Sends the preflights that are due. Returns how long to wait.
    async fn preflight(&mut self) -> Duration {
        let mut wait = IDLE_POLL;
        for target in &mut self.targets {
            if !target.is_preflight_due() {
                continue;
            }
            let answer = tokio::select! {
                answer = target.preflight() => answer,
                () = self.process.stop.cancelled() => return Duration::ZERO,
            };
            if let Err(longer) = answer {
                wait = wait.max(longer);
            }
        }
        wait
    }

    /// The dead letters of a batch that all stores have, and the times of the rows that none refused.
    fn judge(
        &mut self,
        items: &[Vec<u8>],
        batch: &DecodedBatch<'_>,
    ) -> (Vec<Rejected>, Vec<Timestamp>) {
        let Self {
            targets,
            list,
            dead_letters,
            process,
            ..
        } = self;
        let time = process.clock.now();
        let mut reject = |rejection: &Rejection, place: usize, series: &str| {
            let input = Input {
                series,
                topic: list,
                payload: &items[place],
                truncated: None,
                time,
            };
            dead_letters.encode(rejection, &input)
        };
        let undecodable = batch.rejections.iter();
        let mut dead: Vec<_> = undecodable
            .map(|(place, rejection)| reject(rejection, *place, ""))
            .collect();
        let is_single = targets.len() == 1;
        let refused = refused_rows(targets);
        dead.extend(refused.iter().map(|(place, refusals)| {
            let row = batch.row_of(*place);
            let series = row.and_then(|row| row.tags.first());
            let series = series.map_or("", |(_, value)| value.as_str());
            reject(&rejection(refusals, is_single), *place, series)
        }));
        let rows = batch.places.iter().zip(&batch.rows);
        let stored = rows.filter(|(place, _)| !refused.contains_key(place));
        (dead, stored.map(|(_, row)| row.timestamp).collect())
    }
}

/// The indexes of elements whose rows a store refused.
fn refused_rows<S>(targets: &[Target<S>]) -> BTreeMap<usize, Refusals<'_>> {
    let mut refused: BTreeMap<usize, Refusals<'_>> = BTreeMap::new();
    for target in targets {
        for row in &target.refused {
            let refusals = refused.entry(row.place).or_default();
            refusals.push((&target.name, &row.detail));
        }
    }
    refused
}

/// What the dead letter says of a row.
fn rejection(refusals: &Refusals<'_>, is_single: bool) -> Rejection {
    if is_single && let [(_, detail)] = refusals.as_slice() {
        return Rejection::new(Reason::StoreRejected, detail);
    }
    let details: Vec<_> = refusals
        .iter()
        .map(|(name, detail)| format!("{name}: {detail}"))
        .collect();
    let mut rejection = Rejection::new(Reason::StoreRejected, details.join("; "));
    rejection.stores = refusals
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    rejection
}
