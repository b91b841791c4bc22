//! Reads the state of a pipeline that has readers.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use model::Stage;
use queue::QueueError;
use queue::ledger::{Counter, Ledger};
use store::history::{History, SeriesLatest};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::figures::{Omitted, Rates};
use super::rows::AllRows;
use super::{Figures, Seen};
use crate::parts::{Api, ServedPipeline};
use crate::problem::{Problem, lists_failed, unreadable};
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
/// After work that takes long, there is a pause of this many times its duration.
const SHARE: u32 = 5;
/// How long a state waits for such work. What isn't done then is part of a later state.
const PATIENCE: Duration = Duration::from_millis(200);
/// Lists that don't answer within this time are told as a problem. Clients expect a state more often than every 5 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

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
    /// The number of stored rows when the last read of values began.
    stored: Option<i64>,
    read: Background<Result<Vec<SeriesLatest>, Problem>>,
    dead: DeadLetterCounts,
    /// What the ledger said of dead letters when the last count of them began.
    dead_before: Option<[i64; 5]>,
    count: Background<Result<DeadLetterCounts, QueueError>>,
}

/// Work that may take longer than a state, one at a time.
struct Background<T> {
    started: Instant,
    /// When the next one may begin.
    due: Instant,
    running: JoinSet<T>,
}

impl<T: Send + 'static> Background<T> {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            due: Instant::now(),
            running: JoinSet::new(),
        }
    }

    fn may_start(&self) -> bool {
        self.running.is_empty() && Instant::now() >= self.due
    }

    fn start(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.started = Instant::now();
        self.running.spawn(work);
    }

    /// What came out, if it ends soon. The next one may begin `least` later.
    async fn result(&mut self, least: Duration) -> Option<T> {
        let ended = timeout(PATIENCE, self.running.join_next()).await.ok()??;
        let took = self.started.elapsed();
        self.due = Instant::now() + (took * SHARE).max(least);
        ended.ok()
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
            read: Background::new(),
            dead: DeadLetterCounts::default(),
            dead_before: None,
            count: Background::new(),
        }
    }

    /// Reads the next state. The ledger comes first, so that the values hold all that it counts as stored.
    async fn state(&mut self) -> State {
        self.number += 1;
        let figures = timeout(ANSWER_LIMIT, self.figures()).await;
        let figures = figures.unwrap_or_else(|_| {
            let detail = format!("the lists don't answer within {ANSWER_LIMIT:?}");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        });
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
        let is_old = self.read.started.elapsed() >= READ_ANYWAY;
        if self.read.may_start() && (has_new || is_old) {
            self.stored = stored;
            let history = self.part.history.clone();
            self.read
                .start(async move { history.latest_of_all().await.map_err(unreadable) });
        }
        match self.read.result(Duration::ZERO).await {
            Some(Ok(read)) => {
                self.rows = self.rows.next(read, &self.part.pipeline, self.number);
                self.rows_problem = None;
            }
            Some(Err(problem)) => self.rows_problem = Some(problem),
            None => {}
        }
    }

    async fn figures(&mut self) -> Result<Figures, Problem> {
        let lists = &self.part.lists;
        let snapshot = lists.snapshot().await.map_err(lists_failed)?;
        let transformer = lists.progress(Stage::Transformer).await;
        let transformer = transformer.map_err(lists_failed)?;
        let sink = lists.progress(Stage::Sink).await.map_err(lists_failed)?;
        let ledger = snapshot.ledger;
        self.rates.add(Instant::now(), &ledger);
        self.count_dead_letters(&ledger).await?;
        let dependencies = health::dependencies(&self.api, &self.part.pipeline);
        let progress = |stage| match stage {
            Stage::Ingester | Stage::Alerts => None,
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
        let is_old = self.count.started.elapsed() >= COUNT_ANYWAY;
        if self.count.may_start() && (self.dead_before != now || is_old) {
            self.dead_before = now;
            let lists = self.part.lists.clone();
            self.count
                .start(async move { dead_letters::count(&lists).await });
        }
        match self.count.result(COUNT_EVERY).await {
            Some(Ok(dead)) => self.dead = dead,
            Some(Err(error)) => {
                self.dead_before = None;
                return Err(lists_failed(error));
            }
            None => {}
        }
        Ok(())
    }
}
