//! The queue client of a replica, whose calls have faults.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::BrokenRule;
use super::call::Call;
use super::run::Run;
use super::schedule::Fault;
use crate::error::Cause;
use crate::testing::MemoryQueue;
use crate::{Append, Appended, Commit, Lease, Peek, Progress, Queue, QueueError, Snapshot, State};
use model::Stage;
use model::position::Positions;

/// How long a crashed process is down whose request is still on its way.
const SHORT_DOWNTIME: Duration = Duration::from_millis(1);
/// How long to wait before a commit is resent under [`BrokenRule::ResendBlindly`].
const RESEND_WAIT: Duration = Duration::from_millis(100);

/// A handle of one process of one replica.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) run: Arc<Run>,
    replica: usize,
    stop: CancellationToken,
    position: Arc<Mutex<Position>>,
}

/// The position in the list under the current lease.
#[derive(Default)]
struct Position {
    token: String,
    /// The number that the consumer loop expects at the next peek.
    expected: Option<u64>,
    /// The server's number minus the one that the consumer loop is given. It stays 0 unless
    /// [`BrokenRule::TrustMemory`] hides from the loop that the number isn't the expected one.
    hidden: u64,
}

impl Client {
    pub(super) fn new(run: Arc<Run>, replica: usize, stop: CancellationToken) -> Self {
        Self {
            run,
            replica,
            stop,
            position: Arc::default(),
        }
    }

    /// Checks that a commit that the consumer loop considers applied was applied.
    pub(super) fn check_applied(&self, number: u64) {
        let position = self.position();
        self.run.check_applied(&Progress {
            number: number.wrapping_add(position.hidden) + 1,
            by: position.token.clone(),
        });
    }

    fn position(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap()
    }

    async fn call<T: Send + 'static>(
        &self,
        call: Call,
        apply: impl FnOnce(&MemoryQueue) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.wait_while_frozen().await;
        let result = self.send(call, apply).await;
        self.wait_while_frozen().await;
        result
    }

    async fn send<T: Send + 'static>(
        &self,
        call: Call,
        apply: impl FnOnce(&MemoryQueue) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (run, replica) = (&self.run, self.replica);
        let fault = match run.begin_call(replica, call) {
            Ok(Some(fault)) => fault,
            Ok(None) => return run.deliver(replica, call, apply),
            Err(_) => return std::future::pending().await,
        };
        let unanswered = Err(call.unanswered());
        match fault {
            Fault::SlowReply(wait) => {
                let _pending = Run::pending(run);
                let result = run.deliver(replica, call, apply);
                sleep(wait).await;
                return result;
            }
            Fault::SlowRequest(wait) => {
                let reply = self.send_late(wait, call, apply).await;
                return reply.unwrap_or(unanswered);
            }
            Fault::RequestLost(wait) => sleep(wait).await,
            Fault::ReplyLost(wait) => {
                let _pending = Run::pending(run);
                drop(run.deliver(replica, call, apply));
                run.count_lost_reply();
                sleep(wait).await;
            }
            Fault::RequestLate(wait) => drop(self.send_late(wait, call, apply)),
            Fault::FreezeBefore(wait) => {
                run.freeze(replica, wait);
                self.wait_while_frozen().await;
                return run.deliver(replica, call, apply);
            }
            Fault::FreezeAfter(wait) => {
                let result = run.deliver(replica, call, apply);
                run.freeze(replica, wait);
                return result;
            }
            Fault::CrashBefore(downtime) => return self.crash(downtime).await,
            Fault::CrashAfter(downtime) => {
                drop(run.deliver(replica, call, apply));
                return self.crash(downtime).await;
            }
            Fault::CrashInFlight(wait) => {
                drop(self.send_late(wait, call, apply));
                return self.crash(SHORT_DOWNTIME).await;
            }
            Fault::Unavailable => return Err(QueueError::unavailable(Cause::Busy, "not now")),
            Fault::ClockForward(by) => {
                run.server.set_clock(run.server.now().plus(by));
                return run.deliver(replica, call, apply);
            }
            Fault::ClockBack(by) => {
                run.server.set_clock(run.server.now().minus(by));
                return run.deliver(replica, call, apply);
            }
            Fault::Stop => {
                self.stop.cancel();
                return run.deliver(replica, call, apply);
            }
            Fault::ServerCrash {
                lost_transactions,
                clock_too,
            } => {
                crash_if_commit(&run.server, call, apply);
                run.crash_server(lost_transactions, clock_too);
            }
        }
        unanswered
    }

    /// A frozen process neither sends requests nor receives replies.
    async fn wait_while_frozen(&self) {
        while let Some(until) = self.run.frozen_until(self.replica) {
            sleep_until(until).await;
        }
    }

    /// Delivers a request later, even if its sender has ended. It is lost if the server crashes in the
    /// meantime.
    fn send_late<T: Send + 'static>(
        &self,
        wait: Duration,
        call: Call,
        apply: impl FnOnce(&MemoryQueue) -> Result<T, QueueError> + Send + 'static,
    ) -> JoinHandle<Result<T, QueueError>> {
        let (run, replica) = (self.run.clone(), self.replica);
        let (crashes, pending) = (run.server_crashes(), Run::pending(&run));
        tokio::spawn(async move {
            sleep(wait).await;
            let result = if crashes == run.server_crashes() {
                run.deliver(replica, call, apply)
            } else {
                Err(call.unanswered())
            };
            drop(pending);
            result
        })
    }

    async fn crash<T>(&self, downtime: Duration) -> T {
        self.run.crash(self.replica, downtime);
        std::future::pending().await
    }

    async fn send_commit(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        let by_own_clock = self.run.broken == Some(BrokenRule::LeaseByConsumerClock);
        if by_own_clock && self.run.is_expired_for(self.replica) {
            return Err(QueueError::Fenced);
        }
        let (number, take) = (commit.number, commit.take);
        let (lease, commit) = (lease.clone(), commit.clone());
        let committed = self.call(Call::Commit { number, take }, move |server| {
            server.commit_now(&lease, &commit)
        });
        committed.await?;
        self.run.renewed(self.replica);
        Ok(())
    }
}

impl Queue for Client {
    async fn append(&self, append: &Append) -> Result<Appended, QueueError> {
        Ok(self.run.server.append_now(append))
    }

    async fn positions(&self) -> Result<Positions, QueueError> {
        self.run.server.positions().await
    }

    async fn lease(
        &self,
        consumer: Stage,
        nonce: &str,
        limit: Duration,
    ) -> Result<Option<Lease>, QueueError> {
        let nonce = nonce.to_owned();
        let lease = self.call(Call::Lease, move |server| {
            Ok(server.lease_now(consumer, &nonce, limit))
        });
        let lease = lease.await?;
        if let Some(lease) = &lease {
            self.run.acquired(self.replica);
            *self.position() = Position {
                token: lease.token.clone(),
                ..Position::default()
            };
        }
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease) -> Result<(), QueueError> {
        let lease = lease.clone();
        let renewed = self.call(Call::Renew, move |server| server.renew_now(&lease));
        renewed.await?;
        self.run.renewed(self.replica);
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        let lease = lease.clone();
        self.call(Call::Release, move |server| server.release_now(&lease))
            .await
    }

    async fn state(&self, lease: &Lease) -> Result<State, QueueError> {
        let lease = lease.clone();
        let state = self.call(Call::State, move |server| server.state_now(&lease));
        let state = state.await?;
        if self.run.broken == Some(BrokenRule::ForgetState) {
            return Ok(State::default());
        }
        Ok(state)
    }

    async fn peek(&self, lease: &Lease, skip: usize, max: usize) -> Result<Peek, QueueError> {
        let consumer = lease.consumer;
        let peek = self.call(Call::Peek, move |server| {
            Ok(server.peek_now(consumer, skip, max))
        });
        let mut peek = peek.await?;
        let mut position = self.position();
        if let (Some(BrokenRule::TrustMemory), Some(expected)) =
            (self.run.broken, position.expected)
        {
            position.hidden = peek.number.wrapping_sub(expected);
            peek.number = expected;
        }
        Ok(peek)
    }

    async fn commit(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        let mut commit = commit.clone();
        {
            let mut position = self.position();
            position.expected = Some(commit.number + 1);
            commit.number = commit.number.wrapping_add(position.hidden);
        }
        loop {
            let result = self.send_commit(lease, &commit).await;
            let is_settled = result.as_ref().err().is_none_or(QueueError::is_lost);
            if is_settled || self.run.broken != Some(BrokenRule::ResendBlindly) {
                return result;
            }
            sleep(RESEND_WAIT).await;
            if let Ok(now) = self.progress(lease.consumer).await {
                commit.number = now.number;
            }
        }
    }

    async fn progress(&self, consumer: Stage) -> Result<Progress, QueueError> {
        let progress = self.call(Call::Progress, move |server| {
            Ok(server.progress_now(consumer))
        });
        let mut progress = progress.await?;
        let mut position = self.position();
        progress.number = progress.number.wrapping_sub(position.hidden);
        position.expected.get_or_insert(progress.number);
        Ok(progress)
    }

    async fn snapshot(&self) -> Result<Snapshot, QueueError> {
        self.call(Call::Snapshot, |server| Ok(server.snapshot_now()))
            .await
    }
}

/// Lets the server crash in the middle of the transaction, if the call is a commit.
fn crash_if_commit<T>(
    server: &MemoryQueue,
    call: Call,
    apply: impl FnOnce(&MemoryQueue) -> Result<T, QueueError>,
) {
    if matches!(call, Call::Commit { .. }) {
        let _ = apply(&server.clone().crash_in_commit());
    }
}
