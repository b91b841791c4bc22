//! Resolves commits whose outcome is unknown.

use std::time::Duration;

use common::backoff::Backoff;
use common::harness::Process;
use common::health::Dependency;

use crate::changes::{Commit, Lease};
use crate::error::QueueError;
use crate::queue::Queue;

/// After a stop, a commit with an unknown outcome is abandoned after this time. The next holder of the
/// lease reads the commit number and isn't affected.
const STOP_LIMIT: Duration = Duration::from_secs(4);

/// The outcome of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was applied, once.
    Applied,
    /// It wasn't applied, or its outcome can't be determined. Discard the in-memory state and acquire the
    /// lease again.
    Lost(QueueError),
}

/// Commits, and retries until the outcome is known.
///
/// After a lost reply, the commit number decides. One more, by this token, means that the commit was
/// applied. Unchanged means that it wasn't, and the same commit is sent again; if both arrive, the second
/// one is refused because of its number. Any other number means that the lease is lost. Sending again
/// without this check would trim elements that weren't read.
pub async fn settle<Q: Queue>(
    queue: &Q,
    lease: &Lease,
    commit: &Commit,
    dependency: &Dependency,
    process: &Process,
) -> Settled {
    let attempt = commit_until_known(queue, lease, commit, dependency);
    let stop_limit = async {
        process.stop.cancelled().await;
        tokio::time::sleep(STOP_LIMIT).await;
    };
    tokio::select! {
        biased;
        settled = attempt => settled,
        never = process.health.tick_for_ever() => match never {},
        () = stop_limit => Settled::Lost(QueueError::Unknown("abandoned at the stop".into())),
    }
}

async fn commit_until_known<Q: Queue>(
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
                // An earlier try may have been applied before the lease was lost.
                return match commit_state(queue, lease, commit, dependency, &mut backoff).await {
                    CommitState::Applied => Settled::Applied,
                    CommitState::Unchanged | CommitState::Overtaken => Settled::Lost(error),
                };
            }
            QueueError::Unknown(_) => {
                in_doubt = true;
                dependency.down(&error);
                match commit_state(queue, lease, commit, dependency, &mut backoff).await {
                    CommitState::Applied => return Settled::Applied,
                    CommitState::Overtaken => return Settled::Lost(error),
                    // After a wait, because this commit may have caused the lost connection.
                    CommitState::Unchanged => tokio::time::sleep(backoff.next_wait()).await,
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

/// The state of a commit in the queue.
enum CommitState {
    Applied,
    Unchanged,
    Overtaken,
}

/// Reads the commit number. Retries until it succeeds.
async fn commit_state<Q: Queue>(
    queue: &Q,
    lease: &Lease,
    commit: &Commit,
    dependency: &Dependency,
    backoff: &mut Backoff,
) -> CommitState {
    loop {
        match queue.progress(lease.consumer).await {
            Ok(now) if now.number == commit.number => return CommitState::Unchanged,
            Ok(now) if now.number == commit.number + 1 && now.by == lease.token => {
                dependency.up();
                return CommitState::Applied;
            }
            Ok(_) => return CommitState::Overtaken,
            Err(error) => {
                dependency.down(&error);
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    }
}
