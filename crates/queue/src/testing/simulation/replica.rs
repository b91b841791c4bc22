//! A replica of a stage: the loop of the real ones around a small transformer.

use std::sync::Arc;
use std::time::Duration;

use common::harness::Process;
use tokio::time::sleep;

use super::toy::Toy;
use super::wire::Wire;
use super::world::{STAGE, World};
use super::{BrokenRule, LEASE, words};
use crate::lease_manager::{HeldLease, LeaseManager};
use crate::settings::QueueSettings;
use crate::settle::Settled;
use crate::testing::settings;
use crate::{Commit, Lease, Progress, Queue, QueueError};

/// How long an idle consumer waits before it looks again.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// How long to wait after a peek that failed.
const ERROR_WAIT: Duration = Duration::from_millis(200);

/// One life after another, until the run is over.
pub(super) async fn run(world: Arc<World>, who: usize) {
    loop {
        let process = Process::default();
        let life = live(&world, who, &process);
        tokio::select! {
            biased;
            () = world.killed[who].notified() => {}
            () = life => {}
        }
        let down = world.bury(who);
        world.say(|| format!("{}: gone for {down:?}", words::name(who)));
        sleep(down).await;
    }
}

async fn live(world: &Arc<World>, who: usize, process: &Process) {
    let wire = Wire {
        world: world.clone(),
        who,
        stop: process.stop.clone(),
    };
    let settings = QueueSettings {
        lease: LEASE,
        ..settings()
    };
    let leases = LeaseManager::new(wire.clone(), STAGE, &settings, process);
    let replica = Replica {
        wire,
        process,
        leases,
    };
    while let Some(held) = replica.leases.acquire().await {
        replica.serve(&held).await;
        held.release().await;
    }
}

struct Replica<'a> {
    wire: Wire,
    process: &'a Process,
    leases: LeaseManager<Wire>,
}

enum Step {
    More,
    Wait(Duration),
    Lost,
}

impl Replica<'_> {
    async fn serve(&self, held: &HeldLease<Wire>) {
        let Ok(state) = held.state().await else {
            sleep(ERROR_WAIT).await;
            return;
        };
        let mut toy = match self.wire.world.broken {
            Some(BrokenRule::ForgetState) => Toy::default(),
            _ => Toy::load(&state),
        };
        while !self.process.stop.is_cancelled() && !held.lost.is_cancelled() {
            match self.step(held, &mut toy).await {
                Step::More => {}
                Step::Wait(wait) => held.pause(wait, self.process).await,
                Step::Lost => return,
            }
        }
    }

    async fn step(&self, held: &HeldLease<Wire>, toy: &mut Toy) -> Step {
        let world = &self.wire.world;
        let batch = world.size.batch;
        let peeked = if world.broken == Some(BrokenRule::TrustMemory) {
            self.wire.peek(&held.lease, batch).await
        } else {
            held.peek(batch).await
        };
        let peeked = match peeked {
            Ok(peeked) => peeked,
            Err(error) if error.is_lost() => return self.lost(&error),
            Err(_) => return Step::Wait(ERROR_WAIT),
        };
        let commit = toy.step(&peeked, world.size.expires);
        if commit.is_empty() {
            return Step::Wait(IDLE_POLL);
        }
        match self.settle(held, &commit).await {
            Settled::Applied => {
                if peeked.items.len() < world.size.batch {
                    Step::Wait(IDLE_POLL)
                } else {
                    Step::More
                }
            }
            Settled::Lost(error) => self.lost(&error),
        }
    }

    fn lost(&self, error: &QueueError) -> Step {
        let who = words::name(self.wire.who);
        self.wire
            .world
            .say(|| format!("{who}: lost, {error}; forgets"));
        Step::Lost
    }

    async fn settle(&self, held: &HeldLease<Wire>, commit: &Commit) -> Settled {
        let world = &self.wire.world;
        let _open = world.open();
        if world.broken == Some(BrokenRule::ResendBlindly) {
            return self.settle_blindly(&held.lease, commit).await;
        }
        let settled = held.commit(commit).await;
        if settled == Settled::Applied {
            world.believe(&Progress {
                number: commit.number + 1,
                by: held.lease.token.clone(),
            });
        }
        settled
    }

    /// Sends a commit again whatever became of it, with the number that the list is at by then.
    async fn settle_blindly(&self, lease: &Lease, commit: &Commit) -> Settled {
        let mut commit = commit.clone();
        loop {
            match self.wire.commit(lease, &commit).await {
                Ok(()) => return Settled::Applied,
                Err(error) if error.is_lost() => return Settled::Lost(error),
                Err(_) => {}
            }
            sleep(IDLE_POLL).await;
            match self.wire.progress(lease.consumer).await {
                Ok(now) => commit.number = now.number,
                Err(QueueError::Unavailable { .. }) => {}
                Err(error) => return Settled::Lost(error),
            }
        }
    }
}
