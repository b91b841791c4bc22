//! A replica's way to the server, on which anything may happen.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::BrokenRule;
use super::schedule::Kind;
use super::world::{Call, World};
use crate::error::Cause;
use crate::testing::MemoryQueue;
use crate::{Append, Appended, Commit, Lease, Peek, Progress, Queue, QueueError, Snapshot, State};
use model::Stage;

/// The handle of one life of one replica.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) world: Arc<World>,
    pub(super) who: usize,
    pub(super) stop: CancellationToken,
}

impl Wire {
    async fn call<T: Send + 'static>(
        &self,
        call: Call,
        apply: impl FnOnce(&MemoryQueue) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.thaw().await;
        let result = self.send(call, apply).await;
        self.thaw().await;
        result
    }

    async fn send<T: Send + 'static>(
        &self,
        call: Call,
        apply: impl FnOnce(&MemoryQueue) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (world, who) = (&self.world, self.who);
        let Some(fate) = world.meet(who, call) else {
            return std::future::pending().await;
        };
        let wait = fate.wait;
        let unanswered = Err(call.unanswered());
        match fate.kind {
            Kind::Deliver => return world.arrive(who, call, apply),
            Kind::SlowReply => {
                let _open = world.open();
                let result = world.arrive(who, call, apply);
                sleep(wait).await;
                return result;
            }
            Kind::SlowRequest => {
                return self.late(wait, call, apply).await.unwrap_or(unanswered);
            }
            Kind::LoseRequest => sleep(wait).await,
            Kind::LoseReply => {
                let _open = world.open();
                drop(world.arrive(who, call, apply));
                world.lose_reply();
                sleep(wait).await;
            }
            Kind::LateRequest => drop(self.late(wait, call, apply)),
            Kind::FreezeBefore => {
                world.freeze(who, wait);
                self.thaw().await;
                return world.arrive(who, call, apply);
            }
            Kind::FreezeAfter => {
                let result = world.arrive(who, call, apply);
                world.freeze(who, wait);
                return result;
            }
            Kind::CrashBefore => return self.crash(wait).await,
            Kind::CrashAfter => {
                drop(world.arrive(who, call, apply));
                return self.crash(wait).await;
            }
            Kind::CrashLate => {
                drop(self.late(wait, call, apply));
                return self.crash(Duration::from_millis(1)).await;
            }
            Kind::Refuse => return Err(QueueError::unavailable(Cause::Busy, "not now")),
            Kind::ClockForth => {
                world.server.move_clock(millis(wait));
                return world.arrive(who, call, apply);
            }
            Kind::ClockBack => {
                world.server.move_clock(-millis(wait));
                return world.arrive(who, call, apply);
            }
            Kind::Stop => {
                self.stop.cancel();
                return world.arrive(who, call, apply);
            }
            Kind::ServerDies => {
                if matches!(call, Call::Commit { .. }) {
                    let _ = apply(&world.server.clone().dying());
                }
                world.kill_server(fate.cut, fate.clock_too);
            }
        }
        unanswered
    }

    /// A frozen process neither sends anything nor sees an answer.
    async fn thaw(&self) {
        while let Some(until) = self.world.frozen_until(self.who) {
            sleep_until(until).await;
        }
    }

    /// Lets a call arrive later, whether or not its sender is still there. A server that dies takes
    /// what is on its way to it along.
    fn late<T: Send + 'static>(
        &self,
        wait: Duration,
        call: Call,
        apply: impl FnOnce(&MemoryQueue) -> Result<T, QueueError> + Send + 'static,
    ) -> JoinHandle<Result<T, QueueError>> {
        let (world, who, life) = (self.world.clone(), self.who, self.world.life());
        let open = world.open();
        tokio::spawn(async move {
            sleep(wait).await;
            let result = if life == world.life() {
                world.arrive(who, call, apply)
            } else {
                Err(call.unanswered())
            };
            drop(open);
            result
        })
    }

    async fn crash<T>(&self, down: Duration) -> T {
        self.world.crash(self.who, down);
        std::future::pending().await
    }

    /// With a lease by the caller's clock the caller decides whether it still holds it.
    fn let_through(&self) -> Result<(), QueueError> {
        let by_own_clock = self.world.broken == Some(BrokenRule::LeaseByConsumerClock);
        if by_own_clock && self.world.ended_for(self.who) {
            return Err(QueueError::Fenced);
        }
        Ok(())
    }
}

impl Queue for Wire {
    async fn append(&self, append: &Append) -> Result<Appended, QueueError> {
        Ok(self.world.server.append_now(append))
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
        if lease.is_some() {
            self.world.held(self.who, true);
        }
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease) -> Result<(), QueueError> {
        let lease = lease.clone();
        let renewed = self.call(Call::Renew, move |server| server.renew_now(&lease));
        renewed.await?;
        self.world.held(self.who, false);
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        let lease = lease.clone();
        self.call(Call::Release, move |server| server.release_now(&lease))
            .await
    }

    async fn state(&self, lease: &Lease) -> Result<State, QueueError> {
        let lease = lease.clone();
        self.call(Call::State, move |server| server.state_now(&lease))
            .await
    }

    async fn peek(&self, lease: &Lease, max: usize) -> Result<Peek, QueueError> {
        let consumer = lease.consumer;
        self.call(Call::Peek, move |server| Ok(server.peek_now(consumer, max)))
            .await
    }

    async fn commit(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        self.let_through()?;
        let (number, take) = (commit.number, commit.take);
        let (lease, commit) = (lease.clone(), commit.clone());
        let committed = self.call(Call::Commit { number, take }, move |server| {
            server.commit_now(&lease, &commit)
        });
        committed.await?;
        self.world.held(self.who, false);
        Ok(())
    }

    async fn progress(&self, consumer: Stage) -> Result<Progress, QueueError> {
        self.call(Call::Progress, move |server| {
            Ok(server.progress_now(consumer))
        })
        .await
    }

    async fn snapshot(&self) -> Result<Snapshot, QueueError> {
        self.call(Call::Snapshot, |server| Ok(server.snapshot_now()))
            .await
    }
}

fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}
