//! The main loop: lease, peek, write, commit.

use std::time::Duration;

use common::backoff::Backoff;
use common::dead_letter::{self, Fault, Reason};
use common::faults::{self, Point, Rule};
use common::guard::guarded;
use common::harness::Process;
use common::health::Dependency;
use common::metric;
use common::row::Row;
use common::wire;
use metrics::{counter, histogram};
use queue::keeper::{Keeper, Tenure};
use queue::ledger::Counter;
use queue::list::Consumer;
use queue::settings::QueueSettings;
use queue::settle::Settled;
use queue::{Commit, Peek, Queue};
use store::Store;
use tokio::time::Instant;

use crate::write::{Unwritten, Writer, Written};

const STAGE: &str = Consumer::Sink.name();
/// How long an idle consumer waits before it looks again.
const IDLE_POLL: Duration = Duration::from_millis(10);
/// How long to wait after a peek that failed.
const ERROR_WAIT: Duration = Duration::from_millis(200);
/// While nothing is written, the store is asked this often whether it would take something.
const IDLE_PREFLIGHT: Duration = Duration::from_secs(10);
/// At a stop, a write that has begun may take this much longer.
const LAST_WRITE: Duration = Duration::from_secs(4);

/// Runs until the process is told to stop. Errors of queue and store are waited out.
pub async fn run<Q: Queue, S: Store>(
    settings: QueueSettings,
    queue: Q,
    store: S,
    process: Process,
) -> anyhow::Result<()> {
    let keeper = Keeper::new(queue, Consumer::Sink, &settings, &process);
    let mut sink = Sink {
        store_up: process.health.dependency("store"),
        keeper,
        settings,
        process,
        writer: Writer::new(store),
        soon: Backoff::new(Duration::from_millis(250), Duration::from_secs(10)),
        slowly: Backoff::new(Duration::from_secs(2), Duration::from_mins(1)),
        last_contact: None,
    };
    while let Some(tenure) = sink.keeper.acquire().await {
        sink.serve(&tenure).await;
        tenure.give_back().await;
    }
    Ok(())
}

struct Sink<Q, S> {
    settings: QueueSettings,
    process: Process,
    keeper: Keeper<Q>,
    writer: Writer<S>,
    store_up: Dependency,
    /// Waits for a store that is away.
    soon: Backoff,
    /// Waits for somebody to mend something.
    slowly: Backoff,
    /// When the store last said that it takes rows.
    last_contact: Option<Instant>,
}

enum Step {
    /// There is more to do at once.
    More,
    Wait(Duration),
    /// The lease is gone.
    Lost,
}

impl<Q: Queue, S: Store> Sink<Q, S> {
    /// Works under one lease until it is lost or the process stops.
    async fn serve(&mut self, tenure: &Tenure<Q>) {
        while !self.process.stop.is_cancelled() && !tenure.lost.is_cancelled() {
            self.process.health.tick();
            match self.step(tenure).await {
                Step::More => {}
                Step::Wait(wait) => tenure.pause(wait, &self.process).await,
                Step::Lost => return,
            }
        }
    }

    async fn step(&mut self, tenure: &Tenure<Q>) -> Step {
        let peeked = match tenure.peek(self.settings.limits.batch).await {
            Ok(peeked) => peeked,
            Err(error) if error.is_lost() => {
                tracing::warn!(%error, "lost the list; taking the lease anew");
                return Step::Lost;
            }
            Err(error) => {
                self.keeper.queue_up().down(&error);
                return Step::Wait(ERROR_WAIT);
            }
        };
        if peeked.items.is_empty() {
            return self.preflight().await;
        }
        let batch = Batch::decode(&peeked);
        let is_early = !faults::holds(Rule::WriteBeforeCommit);
        let written = if is_early {
            Some(Ok(Written {
                stored: batch.rows.len(),
                rejected: Vec::new(),
            }))
        } else {
            self.write(&batch.rows, tenure).await
        };
        let written = match written {
            None => return Step::Lost,
            Some(Ok(written)) => written,
            Some(Err(unwritten)) => return Step::Wait(self.failed(&unwritten)),
        };
        // Without a row in the batch the store wasn't asked.
        if !batch.rows.is_empty() {
            self.reached();
        }
        let commit = self.commit(&peeked, &batch, &written);
        match tenure.commit(&commit).await {
            Settled::Applied => {
                if is_early {
                    self.write(&batch.rows, tenure).await;
                }
                self.show(&batch, &written);
                let reached_end = peeked.items.len() < self.settings.limits.batch;
                if reached_end {
                    Step::Wait(IDLE_POLL)
                } else {
                    Step::More
                }
            }
            Settled::Lost(error) => {
                tracing::warn!(%error, "lost the lease after a write; who takes it writes again");
                Step::Lost
            }
        }
    }

    /// Writes, showing signs of life. `None` if the lease was lost meanwhile or, after a stop, the
    /// write took too long: nothing is committed then, and the next holder writes the same again.
    async fn write(
        &mut self,
        rows: &[Row<'_>],
        tenure: &Tenure<Q>,
    ) -> Option<Result<Written, Unwritten>> {
        let write = async {
            faults::reach(Point::BeforeWrite);
            let written = self.writer.write(rows).await;
            faults::reach(Point::AfterWrite);
            written
        };
        let last_chance = async {
            self.process.stop.cancelled().await;
            tokio::time::sleep(LAST_WRITE).await;
        };
        tokio::select! {
            biased;
            written = write => Some(written),
            () = tenure.lost.cancelled() => None,
            () = last_chance => None,
            never = self.process.health.tick_for_ever() => match never {},
        }
    }

    /// With nothing to write, sees to it that the store is known to be up or down.
    async fn preflight(&mut self) -> Step {
        if self
            .last_contact
            .is_some_and(|contact| contact.elapsed() < IDLE_PREFLIGHT)
        {
            return Step::Wait(IDLE_POLL);
        }
        let answer = tokio::select! {
            answer = self.writer.preflight() => answer,
            never = self.process.health.tick_for_ever() => match never {},
            () = self.process.stop.cancelled() => return Step::Wait(Duration::ZERO),
        };
        match answer {
            Ok(()) => {
                self.reached();
                Step::Wait(IDLE_POLL)
            }
            Err(unwritten) => Step::Wait(self.failed(&unwritten)),
        }
    }

    fn reached(&mut self) {
        self.store_up.up();
        self.soon.reset();
        self.slowly.reset();
        self.last_contact = Some(Instant::now());
    }

    /// Reports, and says how long to wait.
    fn failed(&mut self, unwritten: &Unwritten) -> Duration {
        self.store_up.down(unwritten);
        self.last_contact = None;
        match unwritten {
            Unwritten::Retry { after, .. } => self.soon.next_wait().max(after.unwrap_or_default()),
            Unwritten::Hold { .. } => self.slowly.next_wait(),
        }
    }

    fn commit(&self, peeked: &Peek, batch: &Batch<'_>, written: &Written) -> Commit {
        let bury = |fault: &Fault, place: usize| {
            let (list, time) = (&self.settings.normalized_queue, self.process.clock.now());
            dead_letter::encode(STAGE, fault, list, &peeked.items[place], time)
        };
        let mut dead: Vec<_> = batch
            .faults
            .iter()
            .map(|(place, fault)| bury(fault, *place))
            .collect();
        dead.extend(written.rejected.iter().map(|rejected| {
            let fault = Fault::new(Reason::StoreRejected, &rejected.detail);
            bury(&fault, batch.places[rejected.index])
        }));
        let stored = i64::try_from(written.stored).unwrap_or(i64::MAX);
        Commit {
            number: peeked.number,
            take: peeked.items.len(),
            last_taken: peeked.items.last().cloned(),
            dead,
            counts: vec![(Counter::RowsStored, stored)],
            ..Commit::default()
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "histograms are of doubles")]
    fn show(&self, batch: &Batch<'_>, written: &Written) {
        let stored = u64::try_from(written.stored).unwrap_or(0);
        counter!(metric::ROWS, "kind" => "stored").increment(stored);
        histogram!(metric::BATCH_SIZE, "stage" => STAGE).record(batch.rows.len() as f64);
        let now = self.process.clock.now();
        let delays = histogram!(metric::STORE_DELAY);
        let mut rejected = written
            .rejected
            .iter()
            .map(|rejected| rejected.index)
            .peekable();
        for (index, row) in batch.rows.iter().enumerate() {
            if rejected.next_if_eq(&index).is_none() {
                delays.record(now.since(row.timestamp).as_secs_f64());
            }
        }
    }
}

/// The rows of a peek, and the elements that are none.
struct Batch<'a> {
    rows: Vec<Row<'a>>,
    /// For each row, its place among the peeked elements.
    places: Vec<usize>,
    /// Places of elements that are no rows, with what is wrong with them.
    faults: Vec<(usize, Fault)>,
}

impl<'a> Batch<'a> {
    fn decode(peeked: &'a Peek) -> Self {
        let count = peeked.items.len();
        let (rows, places) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut batch = Self {
            rows,
            places,
            faults: Vec::new(),
        };
        for (place, item) in peeked.items.iter().enumerate() {
            match guarded(|| wire::decode_row(item)) {
                Ok(Ok(row)) => {
                    batch.rows.push(row);
                    batch.places.push(place);
                }
                Ok(Err(error)) => {
                    batch
                        .faults
                        .push((place, Fault::new(Reason::BadElement, error)));
                }
                Err(poison) => batch
                    .faults
                    .push((place, Fault::new(Reason::Poison, poison))),
            }
        }
        batch
    }
}
