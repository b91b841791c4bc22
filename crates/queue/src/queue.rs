//! The trait that all queues keep; the contract suite in `tests/` says what each call promises.

use std::time::Duration;

use crate::changes::{Append, Appended, Commit, Lease, Peek, Progress, Snapshot, State};
use crate::error::QueueError;
use model::Stage;

/// All lists, state, dead letters, leases and the ledger of one partition.
///
/// Writes are atomic and durable once they return. A dropped call may or may not have been carried
/// out, as after [`QueueError::Unknown`].
pub trait Queue: Clone + Send + Sync + 'static {
    /// Appends readings and dead letters with their ledger, unless the raw list is full.
    fn append(&self, append: &Append) -> impl Future<Output = Result<Appended, QueueError>> + Send;

    /// Takes the consumer's lease for `limit`, unless it is held: then `None`. `nonce` must be a
    /// new random text for each lease; asking again with the same one, after a lost answer,
    /// returns the lease that was given.
    fn lease(
        &self,
        consumer: Stage,
        nonce: &str,
        limit: Duration,
    ) -> impl Future<Output = Result<Option<Lease>, QueueError>> + Send;

    /// Lets the lease last its limit from now; [`QueueError::Fenced`] if it has run out.
    fn renew(&self, lease: &Lease) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Gives the lease back, if it is still held.
    fn release(&self, lease: &Lease) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// The consumer's state, whole. Read it once, right after the lease was taken.
    ///
    /// [`QueueError::Fenced`] if the lease isn't held: what was read without it may be of commits
    /// that a server put back to an earlier time, where the lease still stood, knows nothing of.
    fn state(&self, lease: &Lease) -> impl Future<Output = Result<State, QueueError>> + Send;

    /// Up to `max` elements at the head of the consumer's list; removes nothing.
    fn peek(
        &self,
        lease: &Lease,
        max: usize,
    ) -> impl Future<Output = Result<Peek, QueueError>> + Send;

    /// Carries the commit out if the token is the lease's, the number is the list's and every key
    /// has its type; renews the lease.
    fn commit(
        &self,
        lease: &Lease,
        commit: &Commit,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// How far the consumer's commits have come, whoever made them.
    fn progress(
        &self,
        consumer: Stage,
    ) -> impl Future<Output = Result<Progress, QueueError>> + Send;

    /// Counters, lengths, instance and time, all of one moment.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, QueueError>> + Send;
}
