//! Holding a lease: waiting for it, renewing it, noticing its loss, giving it back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::backoff::Backoff;
use common::clock::Clock;
use common::faults::{self, Point};
use common::harness::Process;
use common::health::{Dependency, QUEUE};
use common::metric;
use metrics::gauge;
use model::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::changes::{Commit, Lease, Peek, Snapshot, State};
use crate::error::QueueError;
use crate::ledger::Counter;
use crate::queue::Queue;
use crate::resets::Resets;
use crate::settings::QueueSettings;
use crate::settle::{Settled, settle};
use model::Stage;

/// How often a standby asks for the lease.
const STANDBY_POLL: Duration = Duration::from_millis(200);
/// A lease that ended this soon after its start ended badly.
const SHORT_TENURE: Duration = Duration::from_secs(1);
/// How long to wait before another one then.
const AFTER_SHORT_TENURE: Duration = Duration::from_millis(200);
/// How long giving a lease back may take at a stop.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// Gets and keeps leases for one consumer of one process.
#[derive(Debug, Clone)]
pub struct LeaseManager<Q> {
    queue: Q,
    consumer: Stage,
    limit: Duration,
    list_limit: usize,
    process: Process,
    queue_up: Dependency,
    lease_up: Dependency,
    resets: Arc<Mutex<Resets>>,
    /// When the lease was last taken.
    taken: Arc<Mutex<Option<Instant>>>,
}

/// What to do about a lease that another replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfHeld {
    StandBy,
    GiveUp,
}

/// The last look at the queue and when it was taken.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What was seen.
    pub snapshot: Snapshot,
    /// When the answer came, on the monotonic clock.
    at: Instant,
}

impl Seen {
    /// How far `clock` and the queue's clock are apart now.
    #[must_use]
    pub fn skew(&self, clock: &Clock) -> Duration {
        clock.now().distance(self.server_now())
    }

    fn server_now(&self) -> Timestamp {
        self.snapshot.server_time.plus(self.at.elapsed())
    }
}

impl<Q: Queue> LeaseManager<Q> {
    /// Reports on `queue` and `lease` to the process's health.
    #[must_use]
    pub fn new(queue: Q, consumer: Stage, settings: &QueueSettings, process: &Process) -> Self {
        Self {
            queue,
            consumer,
            limit: settings.lease,
            list_limit: settings.limits.queue_limit,
            queue_up: process.health.dependency(QUEUE),
            lease_up: process.health.dependency("lease"),
            process: process.clone(),
            resets: Arc::default(),
            taken: Arc::default(),
        }
    }

    /// The queue's place in the process's health.
    #[must_use]
    pub const fn queue_up(&self) -> &Dependency {
        &self.queue_up
    }

    /// Waits for the lease as long as it takes; `None` at a stop.
    pub async fn acquire(&self) -> Option<HeldLease<Q>> {
        self.acquire_or(IfHeld::StandBy).await
    }

    /// Takes the lease anew unless another replica holds it; `None` then, or at a stop. Waits for a
    /// queue that can't be asked.
    pub async fn acquire_unless_held(&self) -> Option<HeldLease<Q>> {
        self.acquire_or(IfHeld::GiveUp).await
    }

    async fn acquire_or(&self, if_held: IfHeld) -> Option<HeldLease<Q>> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let last = *self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < SHORT_TENURE) {
            // Whatever took the last one away so soon may do it again.
            self.process.pause(AFTER_SHORT_TENURE).await;
        }
        // A new one for each lease: no commit of an earlier lease can pass for one of this.
        let nonce = new_nonce();
        while !self.process.stop.is_cancelled() {
            self.process.health.tick();
            let wait = match self.try_acquire(&nonce).await {
                Ok(Some(held)) => {
                    let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
                    *taken = Some(Instant::now());
                    return Some(held);
                }
                Ok(None) => {
                    self.queue_up.up();
                    self.lease_up.standby();
                    if if_held == IfHeld::GiveUp {
                        return None;
                    }
                    backoff.reset();
                    STANDBY_POLL
                }
                Err(error) => {
                    self.queue_up.down(&error);
                    backoff.next_wait()
                }
            };
            self.process.pause(wait).await;
        }
        None
    }

    async fn try_acquire(&self, nonce: &str) -> Result<Option<HeldLease<Q>>, QueueError> {
        let Some(lease) = self.queue.lease(self.consumer, nonce, self.limit).await? else {
            return Ok(None);
        };
        faults::reach(Point::AfterLease);
        // Before anything is read: from here on only this lease commits. Both at once, so that the
        // first renewal is soon: the way to the queue may be long, and the lease runs already.
        let (progress, seen) = tokio::join!(self.queue.progress(self.consumer), self.snapshot());
        let (number, seen) = (progress?.number, seen?);
        let (sender, seen) = watch::channel(seen);
        self.queue_up.up();
        self.lease_up.up();
        let lost = CancellationToken::new();
        let heart = tokio::spawn(self.clone().beat(lease.clone(), sender, lost.clone()));
        Ok(Some(HeldLease {
            leases: self.clone(),
            lease,
            number: AtomicU64::new(number),
            lost,
            seen,
            heart,
        }))
    }

    async fn snapshot(&self) -> Result<Seen, QueueError> {
        let accepted = self.resets().accepted();
        let snapshot = self.queue.snapshot().await?;
        let seen = Seen {
            at: Instant::now(),
            snapshot,
        };
        self.resets().check(&seen.snapshot, accepted);
        self.show(&seen.snapshot);
        Ok(seen)
    }

    /// An append of `count` readings brought the counter `accepted` to this.
    pub fn appended(&self, count: usize, accepted: i64) {
        self.resets().appended(count, accepted);
    }

    fn resets(&self) -> MutexGuard<'_, Resets> {
        self.resets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews at once and every third of the limit, and looks at the queue, until the lease is lost.
    async fn beat(self, lease: Lease, seen: watch::Sender<Seen>, lost: CancellationToken) {
        let mut beats = tokio::time::interval(self.limit / 3);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            faults::reach(Point::BeforeRenewal);
            let renewed = match self.queue.renew(&lease).await {
                Ok(()) => self.snapshot().await,
                Err(error) => Err(error),
            };
            match renewed {
                Ok(snapshot) => {
                    faults::reach(Point::AfterRenewal);
                    self.queue_up.up();
                    seen.send_replace(snapshot);
                }
                Err(QueueError::Fenced) => break,
                Err(error) => self.queue_up.down(&error),
            }
        }
        self.lease_up
            .down(&"lost: it ran out, or another replica has it");
        lost.cancel();
    }

    fn show(&self, snapshot: &Snapshot) {
        let length = |count: i64| usize::try_from(count).unwrap_or(0);
        metric::record_list_length("raw", length(snapshot.ledger.raw), self.list_limit);
        metric::record_list_length(
            "normalized",
            length(snapshot.ledger.normalized),
            self.list_limit,
        );
        #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
        for counter in Counter::ALL {
            let value = snapshot.ledger.get(counter) as f64;
            gauge!(metric::LEDGER, "counter" => counter.name()).set(value);
        }
        #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
        let foreign = (
            snapshot.ledger.raw_foreign() as f64,
            snapshot.ledger.rows_foreign() as f64,
        );
        gauge!(metric::LEDGER, "counter" => "raw_foreign").set(foreign.0);
        gauge!(metric::LEDGER, "counter" => "rows_foreign").set(foreign.1);
    }
}

/// A lease that is held, renewed by a task of its own.
#[derive(Debug)]
pub struct HeldLease<Q> {
    leases: LeaseManager<Q>,
    /// The lease itself.
    pub lease: Lease,
    /// The list's commit number as this lease left it.
    number: AtomicU64,
    /// Cancelled when the lease is known to be lost.
    pub lost: CancellationToken,
    /// The last look at the queue, renewed with the lease.
    pub seen: watch::Receiver<Seen>,
    heart: JoinHandle<()>,
}

impl<Q: Queue> HeldLease<Q> {
    /// Waits, showing signs of life; less long at a stop or when the lease is lost.
    pub async fn pause(&self, wait: Duration, process: &Process) {
        tokio::select! {
            () = process.pause(wait) => {}
            () = self.lost.cancelled() => {}
        }
    }

    /// The consumer's state, whole.
    pub async fn state(&self) -> Result<State, QueueError> {
        let state = self.leases.queue.state(&self.lease).await?;
        faults::reach(Point::AfterState);
        Ok(state)
    }

    /// Up to `max` elements at the list's head. [`QueueError::Conflict`] if the list isn't where this
    /// lease's last commit left it, as when the queue was put back to an older state: what is in
    /// memory doesn't belong to it then.
    pub async fn peek(&self, max: usize) -> Result<Peek, QueueError> {
        faults::reach(Point::BeforePeek);
        let peek = self.leases.queue.peek(&self.lease, max).await?;
        let (expected, found) = (self.number.load(Ordering::Relaxed), peek.number);
        if found == expected {
            if !peek.items.is_empty() {
                faults::reach(Point::AfterPeek);
            }
            return Ok(peek);
        }
        if found < expected {
            self.leases.resets().put_back(expected, found);
        }
        Err(QueueError::Conflict { expected, found })
    }

    /// Commits, and keeps at it until it is known what became of it.
    pub async fn commit(&self, commit: &Commit) -> Settled {
        let LeaseManager {
            queue,
            queue_up,
            process,
            ..
        } = &self.leases;
        faults::reach(Point::BeforeCommit);
        let settled = settle(queue, &self.lease, commit, queue_up, process).await;
        if settled == Settled::Applied {
            faults::reach(Point::AfterCommit);
            self.number.store(commit.number + 1, Ordering::Relaxed);
        }
        settled
    }

    /// Stops renewing and gives the lease back, so that a standby can take it at once.
    pub async fn give_back(self) {
        self.heart.abort();
        let release = self.leases.queue.release(&self.lease);
        match tokio::time::timeout(RELEASE_LIMIT, release).await {
            Ok(Ok(())) => tracing::debug!("gave the lease back"),
            // It had run out already, and that has been said.
            Ok(Err(QueueError::Fenced)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot give the lease back, it runs out"),
            Err(_) => tracing::warn!("cannot give the lease back in time, it runs out"),
        }
    }
}

impl<Q> Drop for HeldLease<Q> {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

fn new_nonce() -> String {
    format!("{:016x}", fastrand::u64(..))
}
