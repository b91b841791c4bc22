//! Writes rows of the normalized list to the store.

use std::convert::Infallible;
use std::time::Duration;

use common::backoff::Backoff;
use common::faults::{self, Point};
use common::guard::guarded;
use common::harness::Process;
use common::health::Dependency;
use common::metric;
use metrics::{counter, histogram};
use model::Stage;
use model::dead_letter::{Reason, Rejection};
use model::{Layout, Row, Timestamp};
use queue::consume::{self, Changes, Decision, IDLE_POLL, Processor, consume};
use queue::ledger::{Counter, delta};
use queue::rejected::{DeadLetterEncoder, Input, Rejected};
use queue::settings::QueueSettings;
use queue::{Queue, State};
use store::Store;
use tokio::time::Instant;

use crate::write::{Unwritten, Writer, Written};

const STAGE: Stage = Stage::Sink;
/// Interval of preflights while there is nothing to write.
const IDLE_PREFLIGHT: Duration = Duration::from_secs(10);

/// Runs until the process stops. Errors of queue and store are retried.
pub async fn run<Q: Queue, S: Store>(
    settings: QueueSettings,
    queue: Q,
    store: S,
    process: Process,
) -> anyhow::Result<()> {
    let sink = Sink {
        store_up: process.health.dependency("store"),
        list: settings.normalized_queue.clone(),
        layout: settings.layout,
        dead_letters: DeadLetterEncoder::new(STAGE, &settings.limits),
        process: process.clone(),
        writer: Writer::new(store),
        retry: Backoff::new(Duration::from_millis(250), Duration::from_secs(10)),
        hold: Backoff::new(Duration::from_secs(2), Duration::from_mins(1)),
        last_contact: None,
    };
    let Ok(()) = consume(queue, Stage::Sink, &settings, &process, sink).await;
    Ok(())
}

struct Sink<S> {
    list: String,
    layout: Layout,
    dead_letters: DeadLetterEncoder,
    process: Process,
    writer: Writer<S>,
    store_up: Dependency,
    /// Waits while the store is unavailable.
    retry: Backoff,
    /// Waits while the settings or the store need a correction.
    hold: Backoff,
    /// When the store last accepted rows or a preflight.
    last_contact: Option<Instant>,
}

/// The times of the stored rows, for the metrics after the commit.
struct Summary {
    stored: Vec<Timestamp>,
}

impl<S: Store> Processor for Sink<S> {
    type Summary = Summary;
    type Error = Infallible;

    fn load(&mut self, _: State) -> Result<(), Infallible> {
        Ok(())
    }

    async fn process(&mut self, batch: &consume::Batch) -> Result<Decision<Summary>, Infallible> {
        let items = &batch.peek.items;
        if items.is_empty() {
            return Ok(Decision::Wait(self.preflight().await));
        }
        let decoded = DecodedBatch::decode(self.layout, items);
        faults::reach(Point::BeforeWrite);
        let written = self.writer.write(&decoded.rows).await;
        faults::reach(Point::AfterWrite);
        let written = match written {
            Ok(written) => written,
            Err(unwritten) => return Ok(Decision::Wait(self.failed(&unwritten))),
        };
        // Without a row in the batch, the store wasn't used.
        if !decoded.rows.is_empty() {
            self.reached();
        }
        let changes = Changes {
            dead: self.reject(items, &decoded, &written),
            counts: vec![(Counter::RowsStored, delta(written.stored))],
            ..Changes::default()
        };
        let stored = decoded.stored(&written);
        Ok(Decision::Commit(changes, Summary { stored }))
    }

    fn committed(&mut self, summary: Summary) {
        counter!(metric::ROWS, "kind" => "stored").increment(summary.stored.len() as u64);
        let now = self.process.clock.now();
        let delays = histogram!(metric::STORE_DELAY);
        for tick in summary.stored {
            delays.record(now.since(tick).as_secs_f64());
        }
    }
}

impl<S: Store> Sink<S> {
    /// Sends a preflight if one is due. Returns how long to wait.
    async fn preflight(&mut self) -> Duration {
        if self
            .last_contact
            .is_some_and(|contact| contact.elapsed() < IDLE_PREFLIGHT)
        {
            return IDLE_POLL;
        }
        let answer = tokio::select! {
            answer = self.writer.preflight() => answer,
            () = self.process.stop.cancelled() => return Duration::ZERO,
        };
        match answer {
            Ok(()) => {
                self.reached();
                IDLE_POLL
            }
            Err(unwritten) => self.failed(&unwritten),
        }
    }

    fn reached(&mut self) {
        self.store_up.up();
        self.retry.reset();
        self.hold.reset();
        self.last_contact = Some(Instant::now());
    }

    /// Reports the error, and returns how long to wait.
    fn failed(&mut self, unwritten: &Unwritten) -> Duration {
        self.store_up.down(unwritten);
        self.last_contact = None;
        match unwritten {
            Unwritten::Retry { after, .. } => self.retry.next_wait().max(after.unwrap_or_default()),
            Unwritten::Hold { .. } => self.hold.next_wait(),
        }
    }

    fn reject(
        &mut self,
        items: &[Vec<u8>],
        decoded: &DecodedBatch<'_>,
        written: &Written,
    ) -> Vec<Rejected> {
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
        let undecodable = decoded.rejections.iter();
        let mut rejected: Vec<_> = undecodable
            .map(|(place, rejection)| reject(rejection, *place, ""))
            .collect();
        rejected.extend(written.rejected.iter().map(|row| {
            let rejection = Rejection::new(Reason::StoreRejected, &row.detail);
            let series = decoded.rows[row.index].tags.first();
            let series = series.map_or("", |(_, value)| value.as_str());
            reject(&rejection, decoded.places[row.index], series)
        }));
        rejected
    }
}

/// The rows of a batch, and the elements that aren't rows.
struct DecodedBatch<'a> {
    rows: Vec<Row<'a>>,
    /// The index of each row's element.
    places: Vec<usize>,
    /// Indexes of elements that aren't rows, with their rejections.
    rejections: Vec<(usize, Rejection)>,
}

impl<'a> DecodedBatch<'a> {
    fn decode(layout: Layout, items: &'a [Vec<u8>]) -> Self {
        let mut batch = Self {
            rows: Vec::with_capacity(items.len()),
            places: Vec::with_capacity(items.len()),
            rejections: Vec::new(),
        };
        for (place, item) in items.iter().enumerate() {
            let rejection = match guarded(|| layout.decode_row(item)) {
                Ok(Ok(row)) => {
                    batch.rows.push(row);
                    batch.places.push(place);
                    continue;
                }
                Ok(Err(error)) => Rejection::new(Reason::BadElement, error),
                Err(panic) => Rejection::new(Reason::Poison, panic),
            };
            batch.rejections.push((place, rejection));
        }
        batch
    }

    /// The times of the rows that were stored.
    fn stored(&self, written: &Written) -> Vec<Timestamp> {
        let mut rejected = written.rejected.iter().map(|row| row.index).peekable();
        let mut stored = Vec::with_capacity(written.stored);
        for (index, row) in self.rows.iter().enumerate() {
            if rejected.next_if_eq(&index).is_none() {
                stored.push(row.timestamp);
            }
        }
        stored
    }
}
