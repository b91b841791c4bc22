//! Making sure of a commit: the rule for outcomes that are unknown.

use std::time::Duration;

use common::backoff::Backoff;
use common::harness::Process;
use common::health::Dependency;

use crate::changes::{Commit, Lease};
use crate::error::QueueError;
use crate::queue::Queue;

/// After a stop, a commit whose outcome can't be learned is given up this much later; whoever
/// takes the lease next finds out by itself.
const LAST_CHANCE: Duration = Duration::from_secs(4);

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was carried out, once.
    Applied,
    /// It was not, or nobody can tell any more: forget what is in memory, take the lease anew.
    Lost(QueueError),
}

/// Commits, and keeps at it until it is known what became of it.
///
/// When no answer comes, the number decides: one more by this token means that it was carried out;
/// unchanged means that it wasn't, and the same commit is sent again (should both arrive in the
/// end, the second is refused by its number). Anything else: lost. Blindly sending again would
/// trim elements that nobody has read.
pub async fn settle<Q: Queue>(
    queue: &Q,
    lease: &Lease,
    commit: &Commit,
    dependency: &Dependency,
    process: &Process,
) -> Settled {
    let attempt = try_for_ever(queue, lease, commit, dependency);
    let last_chance = async {
        process.stop.cancelled().await;
        tokio::time::sleep(LAST_CHANCE).await;
    };
    tokio::select! {
        biased;
        settled = attempt => settled,
        never = process.health.tick_for_ever() => match never {},
        () = last_chance => Settled::Lost(QueueError::Unknown("gave up at the stop".into())),
    }
}

async fn try_for_ever<Q: Queue>(
    queue: &Q,
    lease: &Lease,
    commit: &Commit,
    dependency: &Dependency,
) -> Settled {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
    let mut in_doubt = false;
    loop {
        let error = match queue.commit(lease, commit).await {
            Ok(()) => {
                dependency.up();
                return Settled::Applied;
            }
            Err(error) => error,
        };
        match error {
            error if error.is_lost() && !in_doubt => {
                return Settled::Lost(error);
            }
            QueueError::Fenced | QueueError::Conflict { .. } | QueueError::Shifted => {
                // An earlier try may have been carried out before the lease was lost.
                return match outcome(queue, lease, commit, dependency, &mut backoff).await {
                    Outcome::Applied => Settled::Applied,
                    Outcome::Unchanged | Outcome::Overtaken => Settled::Lost(error),
                };
            }
            QueueError::Unknown(_) => {
                in_doubt = true;
                dependency.down(&error);
                match outcome(queue, lease, commit, dependency, &mut backoff).await {
                    Outcome::Applied => return Settled::Applied,
                    Outcome::Overtaken => return Settled::Lost(error),
                    // Not at once: what broke the connection may be this very commit.
                    Outcome::Unchanged => tokio::time::sleep(backoff.next_wait()).await,
                }
            }
            QueueError::Unavailable { .. }
            | QueueError::WrongType(_)
            | QueueError::Denied(_)
            | QueueError::Incompatible(_) => {
                dependency.down(&error);
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    }
}

enum Outcome {
    Applied,
    Unchanged,
    Overtaken,
}

/// Reads the number, for as long as it takes.
async fn outcome<Q: Queue>(
    queue: &Q,
    lease: &Lease,
    commit: &Commit,
    dependency: &Dependency,
    backoff: &mut Backoff,
) -> Outcome {
    loop {
        match queue.progress(lease.consumer).await {
            Ok(now) if now.number == commit.number => return Outcome::Unchanged,
            Ok(now) if now.number == commit.number + 1 && now.by == lease.token => {
                dependency.up();
                return Outcome::Applied;
            }
            Ok(_) => return Outcome::Overtaken,
            Err(error) => {
                dependency.down(&error);
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    }
}
