//! Writes rows of the normalized list to the stores of a pipeline.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::ensure;
use common::faults::{self, Point};
use common::harness::Process;
use common::metric;
use metrics::{counter, histogram};
use model::dead_letter::Rejection;
use model::{Layout, Stage, Timestamp};
use queue::consume::{Batch, Changes, Decision, IDLE_POLL, Processor, consume};
use queue::ledger::{Counter, delta};
use queue::rejected::{DeadLetterEncoder, Input, Rejected};
use queue::settings::QueueSettings;
use queue::{Queue, State};
use store::{NoTransactions, Store, TransactionalStore};

use crate::batch::DecodedBatch;
use crate::refusals::Refusals;
use crate::target::Target;
use crate::transaction::note::CommitNote;
use crate::transaction::{Readiness, TransactionTarget};

const STAGE: Stage = Stage::Sink;

/// A store with the name that dead letters, health and metrics give it.
#[derive(Debug, Clone)]
pub struct NamedStore<S> {
    /// Unique among the stores of a pipeline.
    pub name: String,
    /// The store.
    pub store: S,
}

/// The stores of a pipeline.
#[derive(Debug)]
pub struct Stores<S, T = NoTransactions> {
    /// Stores that merge rows, in the order in which they are written to.
    pub merging: Vec<NamedStore<S>>,
    /// The store that takes each batch in a transaction, after all others have it.
    pub transactional: Option<NamedStore<T>>,
}

impl<S> From<Vec<NamedStore<S>>> for Stores<S> {
    fn from(merging: Vec<NamedStore<S>>) -> Self {
        Self {
            merging,
            transactional: None,
        }
    }
}

/// Runs until the process stops. Errors of queue and stores are retried. A batch is written to one store after another,
/// and taken off the list when all have it; while one of them is unavailable, the pipeline waits.
pub async fn run<Q: Queue, S: Store, T: TransactionalStore>(
    settings: QueueSettings,
    queue: Q,
    stores: Stores<S, T>,
    process: Process,
) -> anyhow::Result<()> {
    let count = stores.merging.len() + stores.transactional.iter().count();
    ensure!(count > 0, "a pipeline needs a store");
    let is_single = count == 1;
    let dependency = |name: &str| {
        if is_single {
            process.health.dependency("store")
        } else {
            process.health.dependency(format!("store-{name}"))
        }
    };
    let target = |NamedStore { name, store }| {
        let up = dependency(&name);
        Target::new(name, store, up)
    };
    let sink = Sink {
        targets: stores.merging.into_iter().map(target).collect(),
        last: stores.transactional.map(|NamedStore { name, store }| {
            let up = dependency(&name);
            TransactionTarget::new(name, store, queue.clone(), up)
        }),
        is_single,
        list: settings.normalized_queue.clone(),
        layout: settings.layout,
        dead_letters: DeadLetterEncoder::new(STAGE, &settings.limits),
        process: process.clone(),
    };
    let Ok(()) = consume(queue, Stage::Sink, &settings, &process, sink).await;
    Ok(())
}

struct Sink<S, T, Q> {
    /// Stores that merge rows, in the order in which they are written to.
    targets: Vec<Target<S>>,
    /// The store with transactions.
    last: Option<TransactionTarget<T, Q>>,
    is_single: bool,
    list: String,
    layout: Layout,
    dead_letters: DeadLetterEncoder,
    process: Process,
}

/// The times of the stored rows, for the metrics after the commit.
struct Summary {
    stored: Vec<Timestamp>,
}

impl<S: Store, T: TransactionalStore, Q: Queue> Processor for Sink<S, T, Q> {
    type Summary = Summary;
    type Error = Infallible;

    fn load(&mut self, _: State) -> Result<(), Infallible> {
        self.forget();
        if let Some(last) = &mut self.last {
            last.forget();
        }
        Ok(())
    }

    /// A store with transactions writes only what was peeked at after it was opened.
    fn reads_ahead(&self) -> bool {
        self.last.is_none()
    }

    async fn process(&mut self, batch: &Batch) -> Result<Decision<Summary>, Infallible> {
        self.dead_letters.log_rest();
        let items = &batch.peek.items;
        if items.is_empty() {
            return Ok(Decision::Wait(self.preflight().await));
        }
        if let Some(last) = &mut self.last {
            match last.prepare(batch).await {
                Ok(Readiness::Unwritten) => {}
                Ok(Readiness::Outdated) => return Ok(Decision::Wait(Duration::ZERO)),
                Ok(Readiness::Written(note)) => return Ok(self.take_written(batch, note)),
                Err(wait) => return Ok(Decision::Wait(wait)),
            }
        }
        let decoded = self.decode(items);
        faults::reach(Point::BeforeWrite);
        let written = self.write(&decoded, batch).await;
        faults::reach(Point::AfterWrite);
        Ok(match written {
            Ok(refusals) => self.commit(items, &decoded, &refusals),
            Err(wait) => Decision::Wait(wait),
        })
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

impl<S: Store, T: TransactionalStore, Q: Queue> Sink<S, T, Q> {
    fn forget(&mut self) {
        for target in &mut self.targets {
            target.forget();
        }
    }

    fn decode<'a>(&self, items: &'a [Vec<u8>]) -> DecodedBatch<'a> {
        let merging = self.targets.iter().map(|target| &*target.name);
        let last = self.last.iter().map(|target| &*target.name);
        let names: Vec<_> = merging.chain(last).collect();
        DecodedBatch::decode(self.layout, items, &names)
    }

    /// Writes a batch to the stores in their order, up to the first one that fails. Returns the rows that they refuse.
    async fn write(
        &mut self,
        decoded: &DecodedBatch<'_>,
        batch: &Batch,
    ) -> Result<Refusals, Duration> {
        for target in &mut self.targets {
            target.write(decoded).await?;
        }
        let mut refusals = Refusals::default();
        for target in &self.targets {
            for row in &target.refused {
                refusals.add(row.place, &target.name, &row.detail);
            }
        }
        if let Some(last) = &mut self.last {
            last.write(decoded, batch, &mut refusals).await?;
        }
        Ok(refusals)
    }

    /// Takes the elements off the list that an earlier transaction has written.
    fn take_written(&mut self, batch: &Batch, note: CommitNote) -> Decision<Summary> {
        let items = &batch.peek.items;
        let missing = note.take.saturating_sub(items.len());
        if missing > 0 && !batch.reached_end {
            // This batch is smaller than that one was.
            let take = note.take;
            if let Some(last) = &mut self.last {
                last.keep(note);
            }
            return Decision::PeekMore(take);
        }
        if missing > 0 {
            tracing::error!(
                missing,
                "the list has fewer elements than the last transaction has written: another program has removed some"
            );
        }
        let items = &items[..note.take.min(items.len())];
        let decoded = self.decode(items);
        self.commit(items, &decoded, &note.refusals())
    }

    /// Sends the preflights that are due. Returns how long to wait.
    async fn preflight(&mut self) -> Duration {
        let mut wait = IDLE_POLL;
        let stop = self.process.stop.clone();
        for target in &mut self.targets {
            if !target.is_preflight_due() {
                continue;
            }
            let answer = tokio::select! {
                answer = target.preflight() => answer,
                () = stop.cancelled() => return Duration::ZERO,
            };
            if let Err(longer) = answer {
                wait = wait.max(longer);
            }
        }
        if let Some(last) = self.last.as_mut().filter(|last| last.is_preflight_due()) {
            let answer = tokio::select! {
                answer = last.preflight() => answer,
                () = stop.cancelled() => return Duration::ZERO,
            };
            if let Err(longer) = answer {
                wait = wait.max(longer);
            }
        }
        wait
    }

    /// The commit of elements that all stores have.
    fn commit(
        &mut self,
        items: &[Vec<u8>],
        decoded: &DecodedBatch<'_>,
        refusals: &Refusals,
    ) -> Decision<Summary> {
        let (dead, stored) = self.judge(items, decoded, refusals);
        let changes = Changes {
            take: Some(items.len()),
            dead,
            counts: vec![(Counter::RowsStored, delta(stored.len()))],
            ..Changes::default()
        };
        Decision::Commit(changes, Summary { stored })
    }

    /// The dead letters of elements that all stores have, and the times of the rows that none refused.
    fn judge(
        &mut self,
        items: &[Vec<u8>],
        batch: &DecodedBatch<'_>,
        refusals: &Refusals,
    ) -> (Vec<Rejected>, Vec<Timestamp>) {
        let time = self.process.clock.now();
        let mut reject = |rejection: &Rejection, place: usize, series: &str| {
            let input = Input {
                series,
                topic: &self.list,
                payload: &items[place],
                truncated: None,
                time,
            };
            self.dead_letters.encode(rejection, &input)
        };
        let undecodable = batch.rejections.iter();
        let mut dead: Vec<_> = undecodable
            .map(|(place, rejection)| reject(rejection, *place, ""))
            .collect();
        // A note of another version of this program may name other elements.
        let refused = refusals.rejections(self.is_single);
        dead.extend(refused.filter_map(|(place, rejection)| {
            let row = batch.row_of(place)?;
            let series = row.tags.first();
            let series = series.map_or("", |(_, value)| value.as_str());
            Some(reject(&rejection, place, series))
        }));
        let rows = batch.places.iter().zip(&batch.rows);
        let stored = rows.filter(|(place, _)| !refusals.has(**place));
        (dead, stored.map(|(_, row)| row.timestamp).collect())
    }
}
