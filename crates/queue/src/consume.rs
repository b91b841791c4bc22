//! The consumer loop: lease, peek, process, commit, settle, pause.

use std::time::Duration;

use common::harness::Process;
use common::metric;
use metrics::histogram;
use model::Stage;
use tokio::time::{Instant, sleep};

use crate::changes::{Commit, Peek, State};
use crate::error::QueueError;
use crate::lease_manager::{HeldLease, LeaseManager};
use crate::ledger::Counter;
use crate::queue::Queue;
use crate::rejected::{Rejected, Tally};
use crate::settings::QueueSettings;
use crate::settle::Settled;

/// How long an idle consumer waits before it peeks again.
pub const IDLE_POLL: Duration = Duration::from_millis(10);
/// The wait after a failed call to the queue.
const ERROR_WAIT: Duration = Duration::from_millis(200);
/// After a stop, how long the current batch may still be processed.
const STOP_LIMIT: Duration = Duration::from_secs(4);

/// Processes the elements of a list.
pub trait Processor: Send {
    /// Data about a batch for [`Processor::committed`].
    type Summary: Send;
    /// An error that ends the stage. The current batch isn't committed.
    type Error: std::error::Error + Send;

    /// Replaces the in-memory state by the state in the queue. Called once for each lease, before the
    /// first batch.
    fn load(&mut self, state: State) -> Result<(), Self::Error>;

    /// Whether the elements after a batch are read while it is processed. Of use where processing waits for
    /// something else than the queue.
    fn reads_ahead(&self) -> bool {
        false
    }

    /// Processes a batch. External effects must be idempotent: if the following commit isn't applied,
    /// the next holder of the lease processes the same elements. May be dropped at any await, when the
    /// lease is lost or some time after a stop.
    fn process(
        &mut self,
        batch: &Batch,
    ) -> impl Future<Output = Result<Decision<Self::Summary>, Self::Error>> + Send;

    /// Called after the commit of the batch was applied.
    fn committed(&mut self, summary: Self::Summary);
}

/// Elements at the head of a list.
#[derive(Debug)]
pub struct Batch {
    /// The elements; none if the list is empty.
    pub peek: Peek,
    /// Whether the peek reached the list's end.
    pub reached_end: bool,
    /// The time since the lease was acquired.
    pub now: Duration,
}

/// The result of processing a batch.
#[derive(Debug)]
pub enum Decision<S> {
    /// Take elements of the batch and make these changes, in one commit.
    Commit(Changes, S),
    /// Change nothing, and peek again at once, at this many elements if there are as many.
    PeekMore(usize),
    /// Change nothing, and peek again after this long.
    Wait(Duration),
}

/// The changes of a commit.
#[derive(Debug, Default)]
pub struct Changes {
    /// How many elements to take, the first ones; `None` is all of the batch.
    pub take: Option<usize>,
    /// Elements for the consumer's output list.
    pub outputs: Vec<Vec<u8>>,
    /// Elements that were rejected.
    pub dead: Vec<Rejected>,
    /// State to write.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys of state to delete.
    pub deletes: Vec<Vec<u8>>,
    /// Additions to counters beyond those that follow from the rest.
    pub counts: Vec<(Counter, i64)>,
    /// Whether there is more to do at once, even if the list is empty.
    pub unfinished: bool,
}

/// Consumes a list until the process stops. Errors of the queue are logged and retried; an error of the
/// processor ends the loop.
pub async fn consume<Q: Queue, P: Processor>(
    queue: Q,
    stage: Stage,
    settings: &QueueSettings,
    process: &Process,
    processor: P,
) -> Result<(), P::Error> {
    let leases = LeaseManager::new(queue, stage, settings, process);
    let mut consumer = ListConsumer {
        stage: stage.name(),
        batch: settings.limits.batch,
        peek_more: 0,
        ahead: None,
        leases,
        process,
        processor,
    };
    while let Some(held) = consumer.leases.acquire().await {
        let ended = consumer.serve(&held).await;
        held.release().await;
        ended?;
    }
    Ok(())
}

struct ListConsumer<'a, Q, P> {
    stage: &'static str,
    batch: usize,
    /// How many elements the next peek is for, if more than usual.
    peek_more: usize,
    /// The elements after the last commit, if they were read before it.
    ahead: Option<Peek>,
    leases: LeaseManager<Q>,
    process: &'a Process,
    processor: P,
}

enum Step {
    /// Process the next batch at once.
    Continue,
    Wait(Duration),
    /// The lease is lost, and the in-memory state invalid.
    Lost,
}

impl<Q: Queue, P: Processor> ListConsumer<'_, Q, P> {
    /// Works under one lease until it is lost or the process stops.
    async fn serve(&mut self, held: &HeldLease<Q>) -> Result<(), P::Error> {
        self.ahead = None;
        match held.state().await {
            Ok(state) => self.processor.load(state)?,
            Err(error) => {
                self.leases.queue_up().down(&error);
                sleep(ERROR_WAIT).await;
                return Ok(());
            }
        }
        let taken = Instant::now();
        while !self.process.stop.is_cancelled() && !held.lost.is_cancelled() {
            self.process.health.tick();
            match self.step(held, taken).await? {
                Step::Continue => {}
                Step::Wait(wait) => held.pause(wait, self.process).await,
                Step::Lost => break,
            }
        }
        Ok(())
    }

    async fn step(&mut self, held: &HeldLease<Q>, taken: Instant) -> Result<Step, P::Error> {
        let max = self.batch.max(std::mem::take(&mut self.peek_more));
        let peek = match self.ahead.take() {
            Some(ahead) => ahead,
            None => match held.peek(max).await {
                Ok(peek) => peek,
                Err(error) if error.is_lost() => return Ok(self.lost(&error)),
                Err(error) => {
                    self.leases.queue_up().down(&error);
                    return Ok(Step::Wait(ERROR_WAIT));
                }
            },
        };
        let batch = Batch {
            reached_end: peek.items.len() < max,
            now: taken.elapsed(),
            peek,
        };
        let Some((decision, ahead)) = self.process(held, &batch).await else {
            return Ok(Step::Lost);
        };
        let (changes, summary) = match decision? {
            Decision::Wait(wait) => return Ok(Step::Wait(wait)),
            Decision::PeekMore(elements) => {
                self.peek_more = elements;
                return Ok(Step::Continue);
            }
            Decision::Commit(changes, summary) => (changes, summary),
        };
        let unfinished = changes.unfinished;
        let (commit, rejected) = commit(&batch.peek, changes);
        if commit.is_empty() {
            return Ok(Step::Wait(IDLE_POLL));
        }
        match held.commit(&commit).await {
            Settled::Applied => {
                rejected.count();
                #[expect(clippy::cast_precision_loss, reason = "histograms are of doubles")]
                if commit.take > 0 {
                    histogram!(metric::BATCH_SIZE, "stage" => self.stage)
                        .record(commit.take as f64);
                }
                self.processor.committed(summary);
                self.ahead = ahead
                    .filter(|_| commit.take == batch.peek.items.len())
                    .map(|ahead| ahead.after(&commit));
                Ok(if batch.reached_end && !unfinished {
                    Step::Wait(IDLE_POLL)
                } else {
                    Step::Continue
                })
            }
            Settled::Lost(error) => Ok(self.lost(&error)),
        }
    }

    /// Processes a batch, and reads the elements after it if the processor is one that reads ahead. `None` if the
    /// lease was lost meanwhile, or if it took too long after a stop.
    async fn process(
        &mut self,
        held: &HeldLease<Q>,
        batch: &Batch,
    ) -> Option<(Result<Decision<P::Summary>, P::Error>, Option<Peek>)> {
        let reads_ahead = self.processor.reads_ahead() && !batch.reached_end;
        let (skip, max) = (batch.peek.items.len(), self.batch);
        let both = async {
            let ahead = async {
                if reads_ahead {
                    held.peek_ahead(skip, max).await
                } else {
                    None
                }
            };
            tokio::join!(self.processor.process(batch), ahead)
        };
        let stop_limit = async {
            self.process.stop.cancelled().await;
            sleep(STOP_LIMIT).await;
        };
        tokio::select! {
            biased;
            both = both => Some(both),
            () = held.lost.cancelled() => None,
            () = stop_limit => None,
            never = self.process.health.tick_for_ever() => match never {},
        }
    }

    fn lost(&self, error: &QueueError) -> Step {
        tracing::warn!(
            stage = self.stage,
            %error,
            "lost the lease or the list's position; reloading state under a new lease"
        );
        Step::Lost
    }
}

fn commit(peek: &Peek, changes: Changes) -> (Commit, Tally) {
    let (dead, rejected) = Tally::split(changes.dead);
    let all = &peek.items;
    let taken = changes.take.and_then(|take| all.get(..take)).unwrap_or(all);
    let commit = Commit {
        number: peek.number,
        take: taken.len(),
        last_taken: taken.last().cloned(),
        outputs: changes.outputs,
        dead,
        over_quota: rejected.over_quota(),
        puts: changes.puts,
        deletes: changes.deletes,
        counts: changes.counts,
    };
    (commit, rejected)
}
