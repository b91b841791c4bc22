//! Reads the state of a pipeline that has readers.

use std::sync::Arc;
use std::time::Duration;

use model::Stage;
use queue::ledger::{Counter, Ledger};
use store::history::History;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::figures::{Omitted, Rates};
use super::rows::AllRows;
use super::{Figures, Seen};
use crate::parts::{Api, ServedPipeline};
use crate::problem::Problem;
use crate::routes::dead_letters::{self, DeadLetterCounts};
use crate::routes::health;
use crate::routes::value::Time;

/// Time from one state to the next.
const EVERY: Duration = Duration::from_millis(500);
/// Values are read again after this time even if the sink has stored nothing: others may write to the store.
const READ_ANYWAY: Duration = Duration::from_secs(5);
/// Dead letters are counted at most this often, since that reads all of them.
const COUNT_EVERY: Duration = Duration::from_secs(2);
/// They are counted again after this time even if no counter has changed: discarding changes none.
const COUNT_ANYWAY: Duration = Duration::from_secs(10);
/// Work that takes long is done at most this fraction of the time.
const SHARE: u32 = 5;

/// The state of a pipeline.
#[derive(Debug)]
pub(crate) struct State {
    /// Counts the states.
    pub(super) number: u64,
    /// When it was read, by the server's clock.
    pub(super) time: Time,
    /// The newest values; those read last if they can't be read now.
    pub(super) rows: AllRows,
    /// Why values can't be read now.
    pub(super) rows_problem: Option<Problem>,
    /// The figures, or why they can't be read now.
    pub(super) figures: Result<Figures, Problem>,
}

/// Sends a state every half second until nobody reads them or the process stops.
pub(super) async fn run(api: Api, part: ServedPipeline, sender: watch::Sender<Seen>) {
    let live = api.live();
    let mut poll = Poll::new(api.clone(), part);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = live.stop.cancelled() => return,
        }
        if live.forget_if_unread(poll.part.pipeline.name(), &sender) {
            return;
        }
        let state = poll.state().await;
        sender.send_replace(Some(Arc::new(state)));
    }
}

struct Poll {
    api: Api,
    part: ServedPipeline,
    number: u64,
    rates: Rates,
    rows: AllRows,
    rows_problem: Option<Problem>,
    /// The number of stored rows when values were read last.
    stored: Option<i64>,
    read: Due,
    dead: DeadLetterCounts,
    /// What the ledger said of dead letters when they were counted last.
    dead_before: Option<[i64; 5]>,
    count: Due,
}

/// When work that may take long is due again.
struct Due(Instant);

impl Due {
    fn is_now(&self) -> bool {
        Instant::now() >= self.0
    }

    /// After work that began at `start`, at least `least` later.
    fn after(start: Instant, least: Duration) -> Self {
        let now = Instant::now();
        let took = now.duration_since(start);
        Self(now + (took * SHARE).max(least))
    }
}

impl Poll {
    fn new(api: Api, part: ServedPipeline) -> Self {
        Self {
            api,
            part,
            number: 0,
            rates: Rates::default(),
            rows: AllRows::default(),
            rows_problem: None,
            stored: None,
            read: Due(Instant::now()),
            dead: DeadLetterCounts::default(),
            dead_before: None,
            count: Due(Instant::now()),
        }
    }

    /// Reads the next state. The ledger comes first, so that the values hold all that it counts as stored.
    async fn state(&mut self) -> State {
        self.number += 1;
        let figures = self.figures().await;
        let stored = figures.as_ref().ok();
        let stored = stored.and_then(|figures| figures.counters.get(Counter::RowsStored.name()));
        self.read_rows(stored.copied()).await;
        State {
            number: self.number,
            time: Time(self.api.clock().now()),
            rows: self.rows.clone(),
            rows_problem: self.rows_problem.clone(),
            figures,
        }
    }

    /// Reads the newest values if rows were stored.
    async fn read_rows(&mut self, stored: Option<i64>) {
        let has_new = stored.is_none() || stored != self.stored || self.rows_problem.is_some();
        let start = Instant::now();
        let is_old = start >= self.read.0 + READ_ANYWAY;
        if !(self.read.is_now() && (has_new || is_old)) {
            return;
        }
        match self.part.history.latest_of_all().await {
            Ok(read) => {
                self.rows = self.rows.next(read, &self.part.pipeline, self.number);
                self.rows_problem = None;
                self.stored = stored;
            }
            Err(error) => self.rows_problem = Some(error.into()),
        }
        self.read = Due::after(start, Duration::ZERO);
    }

    async fn figures(&mut self) -> Result<Figures, Problem> {
        let lists = &self.part.lists;
        let snapshot = lists.snapshot().await?;
        let transformer = lists.progress(Stage::Transformer).await?;
        let sink = lists.progress(Stage::Sink).await?;
        let ledger = snapshot.ledger;
        self.rates.add(Instant::now(), &ledger);
        self.count_dead_letters(&ledger).await?;
        let dependencies = health::dependencies(&self.api, &self.part.pipeline);
        let progress = |stage| match stage {
            Stage::Ingester => None,
            Stage::Transformer => Some(transformer.clone()),
            Stage::Sink => Some(sink.clone()),
        };
        let (limit, dead_limit) = (
            self.part.lists.list_limit(),
            self.part.lists.dead_letter_limit(),
        );
        Ok(Figures {
            time: Time(self.api.clock().now()),
            ready: health::is_ready(&dependencies),
            balanced: ledger.is_balanced(),
            stages: self.rates.stages(&dependencies, progress),
            lists: self.rates.lists(&ledger, limit, dead_limit),
            counters: health::counters(&ledger),
            ledger: health::lines(&ledger),
            omitted: Omitted::of(&ledger),
            dead_letters: self.dead.clone(),
        })
    }

    /// Counts dead letters by kind if the ledger says that they changed.
    async fn count_dead_letters(&mut self, ledger: &Ledger) -> Result<(), Problem> {
        let counters = [
            Counter::Trimmed,
            Counter::Discarded,
            Counter::RawReplayed,
            Counter::RowsReplayed,
        ];
        let [trimmed, discarded, raw, rows] = counters.map(|counter| ledger.get(counter));
        let now = Some([ledger.dead, trimmed, discarded, raw, rows]);
        let start = Instant::now();
        let is_old = start >= self.count.0 + COUNT_ANYWAY;
        if !(self.count.is_now() && (self.dead_before != now || is_old)) {
            return Ok(());
        }
        self.dead = dead_letters::count(&self.part.lists).await?;
        self.dead_before = now;
        self.count = Due::after(start, COUNT_EVERY);
        Ok(())
    }
}
