//! Acquires, renews and releases leases, and detects their loss.

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
use crate::resets::ResetDetector;
use crate::settings::QueueSettings;
use crate::settle::{Settled, settle};
use model::Stage;

/// Interval at which a standby requests the lease.
const STANDBY_POLL: Duration = Duration::from_millis(200);
/// A lease that is lost within this time counts as short.
const SHORT_LEASE: Duration = Duration::from_secs(1);
/// The wait before the next lease after a short one.
const AFTER_SHORT_LEASE: Duration = Duration::from_millis(200);
/// Time limit of releasing a lease.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// Acquires and renews leases for one consumer of one process.
#[derive(Debug, Clone)]
pub struct LeaseManager<Q> {
    queue: Q,
    consumer: Stage,
    limit: Duration,
    list_limit: usize,
    pipeline: Arc<str>,
    process: Process,
    queue_up: Dependency,
    lease_up: Dependency,
    resets: Arc<Mutex<ResetDetector>>,
    /// When the lease was last acquired.
    taken: Arc<Mutex<Option<Instant>>>,
}

/// What to do about a lease that another replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfHeld {
    StandBy,
    GiveUp,
}

/// A snapshot of the queue with the time of its arrival.
#[derive(Debug, Clone)]
pub struct TimedSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// When it arrived, on the monotonic clock.
    received: Instant,
}

impl TimedSnapshot {
    /// The difference between `clock` and the queue's clock.
    #[must_use]
    pub fn skew(&self, clock: &Clock) -> Duration {
        clock.now().distance(self.server_now())
    }

    fn server_now(&self) -> Timestamp {
        self.snapshot.server_time.plus(self.received.elapsed())
    }
}

impl<Q: Queue> LeaseManager<Q> {
    /// Adds the dependencies `queue` and `lease` to the process's health.
    #[must_use]
    pub fn new(queue: Q, consumer: Stage, settings: &QueueSettings, process: &Process) -> Self {
        Self {
            queue,
            consumer,
            limit: settings.lease,
            list_limit: settings.limits.queue_limit,
            pipeline: settings.pipeline.as_str().into(),
            queue_up: process.health.dependency(QUEUE),
            lease_up: process.health.dependency("lease"),
            process: process.clone(),
            resets: Arc::default(),
            taken: Arc::default(),
        }
    }

    /// The dependency `queue`.
    #[must_use]
    pub const fn queue_up(&self) -> &Dependency {
        &self.queue_up
    }

    /// Waits for the lease. `None` at a stop.
    pub async fn acquire(&self) -> Option<HeldLease<Q>> {
        self.acquire_or(IfHeld::StandBy).await
    }

    /// Acquires the lease again. `None` if another replica holds it, or at a stop. Retries while the queue
    /// is unavailable.
    pub async fn acquire_unless_held(&self) -> Option<HeldLease<Q>> {
        self.acquire_or(IfHeld::GiveUp).await
    }

    async fn acquire_or(&self, if_held: IfHeld) -> Option<HeldLease<Q>> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let last = *self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < SHORT_LEASE) {
            // The cause of the last loss may still be there.
            self.process.pause(AFTER_SHORT_LEASE).await;
        }
        // A new nonce for each lease, so that commits of an earlier lease are fenced.
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
        // From here on, only this lease can commit. Both requests run at once, so that the first renewal
        // isn't delayed by a slow connection.
        let (progress, snapshot) =
            tokio::join!(self.queue.progress(self.consumer), self.snapshot());
        let (number, snapshot) = (progress?.number, snapshot?);
        let (sender, latest) = watch::channel(snapshot);
        self.queue_up.up();
        self.lease_up.up();
        let lost = CancellationToken::new();
        let renewal = tokio::spawn(self.clone().renew_until_lost(
            lease.clone(),
            sender,
            lost.clone(),
        ));
        Ok(Some(HeldLease {
            leases: self.clone(),
            lease,
            number: AtomicU64::new(number),
            lost,
            latest,
            renewal,
        }))
    }

    async fn snapshot(&self) -> Result<TimedSnapshot, QueueError> {
        let accepted = self.resets().accepted();
        let snapshot = self.queue.snapshot().await?;
        let timed = TimedSnapshot {
            received: Instant::now(),
            snapshot,
        };
        self.resets().check(&timed.snapshot, accepted);
        self.record(&timed.snapshot);
        Ok(timed)
    }

    /// Records that an append of `count` readings set the counter `accepted` to this value.
    pub fn appended(&self, count: usize, accepted: i64) {
        self.resets().appended(count, accepted);
    }

    fn resets(&self) -> MutexGuard<'_, ResetDetector> {
        self.resets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews at once and every third of the limit, and takes snapshots, until the lease is lost.
    async fn renew_until_lost(
        self,
        lease: Lease,
        latest: watch::Sender<TimedSnapshot>,
        lost: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(self.limit / 3);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            faults::reach(Point::BeforeRenewal);
            let renewed = match self.queue.renew(&lease).await {
                Ok(()) => self.snapshot().await,
                Err(error) => Err(error),
            };
            match renewed {
                Ok(snapshot) => {
                    faults::reach(Point::AfterRenewal);
                    self.queue_up.up();
                    latest.send_replace(snapshot);
                }
                Err(QueueError::Fenced) => break,
                Err(error) => self.queue_up.down(&error),
            }
        }
        self.lease_up
            .down(&"lost: it expired, or another replica holds it");
        lost.cancel();
    }

    fn record(&self, snapshot: &Snapshot) {
        let ledger = &snapshot.ledger;
        let (pipeline, limit) = (&self.pipeline, self.list_limit);
        metric::record_list_length(pipeline, "raw", ledger.raw, limit);
        metric::record_list_length(pipeline, "normalized", ledger.normalized, limit);
        let counters = Counter::ALL.map(|counter| (counter.name(), ledger.get(counter)));
        let foreign = [
            ("raw_foreign", ledger.raw_foreign()),
            ("rows_foreign", ledger.rows_foreign()),
        ];
        for (counter, value) in counters.into_iter().chain(foreign) {
            #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
            let value = value as f64;
            gauge!(metric::LEDGER, "pipeline" => self.pipeline.clone(), "counter" => counter)
                .set(value);
        }
    }
}

/// An acquired lease, which a task renews.
#[derive(Debug)]
pub struct HeldLease<Q> {
    leases: LeaseManager<Q>,
    /// The lease.
    pub lease: Lease,
    /// The list's commit number after the last commit under this lease.
    number: AtomicU64,
    /// Cancelled when the loss of the lease is detected.
    pub lost: CancellationToken,
    /// The latest snapshot, taken with each renewal.
    pub latest: watch::Receiver<TimedSnapshot>,
    renewal: JoinHandle<()>,
}

impl<Q: Queue> HeldLease<Q> {
    /// Sleeps for `wait`, ticking the health, until a stop or until the lease is lost.
    pub async fn pause(&self, wait: Duration, process: &Process) {
        tokio::select! {
            () = process.pause(wait) => {}
            () = self.lost.cancelled() => {}
        }
    }

    /// Reads the consumer's whole state.
    pub async fn state(&self) -> Result<State, QueueError> {
        let state = self.leases.queue.state(&self.lease).await?;
        faults::reach(Point::AfterState);
        Ok(state)
    }

    /// Reads up to `max` elements at the list's head. [`QueueError::Conflict`] if the list isn't at the
    /// number after this lease's last commit, for instance because the queue was restored to an older
    /// state: the in-memory state doesn't match it.
    pub async fn peek(&self, max: usize) -> Result<Peek, QueueError> {
        faults::reach(Point::BeforePeek);
        let peek = self.leases.queue.peek(&self.lease, 0, max).await?;
        let (expected, found) = (self.number.load(Ordering::Relaxed), peek.number);
        if found == expected {
            if !peek.items.is_empty() {
                faults::reach(Point::AfterPeek);
            }
            return Ok(peek);
        }
        if found < expected {
            self.leases.resets().went_back(expected, found);
        }
        Err(QueueError::Conflict { expected, found })
    }

    /// Reads up to `max` elements after the first `skip`, before these are committed. `None` after an error,
    /// and if the list isn't at the expected number: the commit or the next peek reports both.
    pub async fn peek_ahead(&self, skip: usize, max: usize) -> Option<Peek> {
        let ahead = self.leases.queue.peek(&self.lease, skip, max).await.ok()?;
        (ahead.number == self.number.load(Ordering::Relaxed)).then_some(ahead)
    }

    /// Commits, and retries until the outcome is known.
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

    /// Stops renewing and releases the lease, so that a standby can acquire it at once.
    pub async fn release(self) {
        self.renewal.abort();
        let release = self.leases.queue.release(&self.lease);
        match tokio::time::timeout(RELEASE_LIMIT, release).await {
            Ok(Ok(())) => tracing::debug!("released the lease"),
            // It has expired, which was already logged.
            Ok(Err(QueueError::Fenced)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot release the lease, it will expire"),
            Err(_) => tracing::warn!("cannot release the lease in time, it will expire"),
        }
    }
}

impl<Q> Drop for HeldLease<Q> {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

fn new_nonce() -> String {
    format!("{:016x}", fastrand::u64(..))
}
