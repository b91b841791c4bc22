//! The main loop: lease, peek, pivot, commit.

use std::time::Duration;

use common::dead_letter;
use common::dead_letter::{Fault, Reason};
use common::faults::{self, Rule};
use common::guard::guarded;
use common::harness::Process;
use common::health::Dependency;
use common::metric;
use metrics::{counter, gauge, histogram};
use queue::keeper::{Keeper, Tenure};
use queue::ledger::Counter;
use queue::list::Consumer;
use queue::settle::Settled;
use queue::{Commit, Peek, Queue, QueueError};
use tokio::time::Instant;

use crate::element;
use crate::pivot::{Outcome, Pivot, Tally};
use crate::settings::Work;

const STAGE: &str = Consumer::Transformer.name();
/// How long an idle consumer waits before it looks again.
const IDLE_POLL: Duration = Duration::from_millis(10);
/// How long to wait while the normalized list is full.
const FULL_POLL: Duration = Duration::from_millis(100);
/// How long to wait after a peek that failed.
const ERROR_WAIT: Duration = Duration::from_millis(200);

/// Runs until the process is told to stop. Errors of the queue are waited out.
pub async fn run<Q: Queue>(settings: Work, queue: Q, process: Process) -> anyhow::Result<()> {
    let keeper = Keeper::new(queue, Consumer::Transformer, &settings.queue, &process);
    let stage = Transformer {
        room: process.health.dependency("normalized_list"),
        settings,
        process,
        keeper,
    };
    while let Some(tenure) = stage.keeper.acquire().await {
        stage.serve(&tenure).await;
        tenure.give_back().await;
    }
    Ok(())
}

struct Transformer<Q> {
    settings: Work,
    process: Process,
    keeper: Keeper<Q>,
    room: Dependency,
}

impl<Q: Queue> Transformer<Q> {
    /// Works under one lease until it is lost or the process stops.
    async fn serve(&self, tenure: &Tenure<Q>) {
        let mut pivot = match tenure.state().await {
            Ok(entries) => Pivot::load(&self.settings.rows, entries),
            Err(error) => {
                self.keeper.queue_up().down(&error);
                tokio::time::sleep(ERROR_WAIT).await;
                return;
            }
        };
        tracing::info!(
            open_rows = pivot.open_rows(),
            "took the lease and read the state"
        );
        let started = Instant::now();
        while !self.process.stop.is_cancelled() && !tenure.lost.is_cancelled() {
            self.process.health.tick();
            match self.step(tenure, &mut pivot, started).await {
                Step::More => {}
                Step::Wait(wait) => tenure.pause(wait, &self.process).await,
                Step::Lost => return,
            }
        }
    }

    async fn step(&self, tenure: &Tenure<Q>, pivot: &mut Pivot, started: Instant) -> Step {
        let batch = self.settings.queue.limits.batch;
        let peeked = match tenure.peek(batch).await {
            Ok(peeked) => peeked,
            Err(error) if error.is_lost() => return lost(&error),
            Err(error) => {
                self.keeper.queue_up().down(&error);
                return Step::Wait(ERROR_WAIT);
            }
        };
        let (full, limit) = (peeked.output_length, self.settings.queue.limits.queue_limit);
        if full >= limit {
            self.room.down(&format_args!(
                "{} is full ({full} elements), waiting until the sink has drained it",
                self.settings.queue.normalized_queue
            ));
            return Step::Wait(FULL_POLL);
        }
        self.room.up();
        let now = started.elapsed();
        let reached_end = peeked.items.len() < batch || !faults::holds(Rule::FlushAtListEnd);
        let dead = self.take(pivot, &peeked, now);
        let all_expired = !reached_end || pivot.expire(now, batch);
        let outcome = pivot.finish();
        let tally = outcome.tally;
        let commit = commit(&peeked, outcome, dead);
        if commit.is_empty() {
            return Step::Wait(IDLE_POLL);
        }
        match tenure.commit(&commit).await {
            Settled::Applied => {
                show(&commit, &tally, pivot.open_rows());
                if reached_end && all_expired {
                    Step::Wait(IDLE_POLL)
                } else {
                    Step::More
                }
            }
            Settled::Lost(error) => lost(&error),
        }
    }

    /// Takes all peeked elements; returns the dead letters of those that are no readings.
    fn take(&self, pivot: &mut Pivot, peeked: &Peek, now: Duration) -> Vec<Vec<u8>> {
        let mut dead = Vec::new();
        for item in &peeked.items {
            let decoded = guarded(|| element::decode(item, &self.settings.times))
                .unwrap_or_else(|poison| Err(Fault::new(Reason::Poison, poison)));
            match decoded {
                Ok(reading) => pivot.take(&reading, now),
                Err(fault) => {
                    let (list, time) = (&self.settings.queue.raw_queue, self.process.clock.now());
                    dead.push(dead_letter::encode(STAGE, &fault, list, item, time));
                }
            }
        }
        dead
    }
}

enum Step {
    /// There is more to do at once.
    More,
    Wait(Duration),
    /// The lease is gone, and with it all that is in memory.
    Lost,
}

fn lost(error: &QueueError) -> Step {
    tracing::warn!(%error, "lost the list; forgetting what is in memory, taking the lease anew");
    Step::Lost
}

fn commit(peeked: &Peek, outcome: Outcome, dead: Vec<Vec<u8>>) -> Commit {
    let Outcome {
        rows,
        puts,
        deletes,
        tally,
    } = outcome;
    let counts = vec![
        (Counter::Repeated, tally.repeated),
        (Counter::Superseded, tally.superseded),
        (Counter::Late, tally.late),
        (Counter::InRows, tally.in_rows),
        (Counter::OpenReadings, tally.open_readings),
    ];
    let (number, take) = (peeked.number, peeked.items.len());
    Commit {
        number,
        take,
        last_taken: peeked.items.last().cloned(),
        outputs: rows,
        dead,
        puts,
        deletes,
        counts,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges and histograms are doubles"
)]
fn show(commit: &Commit, tally: &Tally, open_rows: usize) {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let taken = commit.take - commit.dead.len();
    counter!(metric::READINGS, "stage" => STAGE).increment(u64::try_from(taken).unwrap_or(0));
    counter!(metric::REPEATED).increment(count(tally.repeated));
    counter!(metric::SUPERSEDED).increment(count(tally.superseded));
    counter!(metric::LATE).increment(count(tally.late));
    for (kind, rows) in [
        ("complete", tally.complete),
        ("partial", tally.partial),
        ("forced", tally.forced),
        ("second", tally.second),
        ("late", count(tally.late)),
    ] {
        counter!(metric::ROWS, "kind" => kind).increment(rows);
    }
    gauge!(metric::OPEN_ROWS).set(open_rows as f64);
    if commit.take > 0 {
        histogram!(metric::BATCH_SIZE, "stage" => STAGE).record(commit.take as f64);
    }
}
