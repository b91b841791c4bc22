//! The trait of all queues. The contract suite in `tests/` checks what each call guarantees.

use std::time::Duration;

use crate::changes::{Append, Appended, Commit, Lease, Peek, Progress, Snapshot, State};
use crate::error::QueueError;
use model::Stage;
use model::position::Positions;

/// All lists, state, dead letters, leases and the ledger of one partition.
///
/// Writes are atomic, and durable when they return. A dropped call may or may not be carried out, as
/// after [`QueueError::Unknown`].
pub trait Queue: Clone + Send + Sync + 'static {
    /// Appends readings and dead letters, updates the ledger and sets positions, unless the raw list is full
    /// or a position has another value.
    fn append(&self, append: &Append) -> impl Future<Output = Result<Appended, QueueError>> + Send;

    /// The positions of the pipeline's source, as far as appends have set any.
    fn positions(&self) -> impl Future<Output = Result<Positions, QueueError>> + Send;

    /// Acquires the consumer's lease for `limit`. `None` if it is held. `nonce` must be a new random string
    /// for each lease; a retry with the same nonce, after a lost reply, returns the same lease.
    fn lease(
        &self,
        consumer: Stage,
        nonce: &str,
        limit: Duration,
    ) -> impl Future<Output = Result<Option<Lease>, QueueError>> + Send;

    /// Renews the lease for its time limit. [`QueueError::Fenced`] if it has expired.
    fn renew(&self, lease: &Lease) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Releases the lease, if it is still held.
    fn release(&self, lease: &Lease) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// The consumer's whole state. Read it once, right after acquiring the lease.
    ///
    /// [`QueueError::Fenced`] if the lease isn't held. State that is read without the lease may belong to
    /// commits that a server loses when it is restored to an earlier time.
    fn state(&self, lease: &Lease) -> impl Future<Output = Result<State, QueueError>> + Send;

    /// Reads up to `max` elements of the consumer's list, from its head on but for the first `skip`. Removes
    /// nothing.
    fn peek(
        &self,
        lease: &Lease,
        skip: usize,
        max: usize,
    ) -> impl Future<Output = Result<Peek, QueueError>> + Send;

    /// Applies the commit and renews the lease, if the lease is held, the list is at the commit's number
    /// and every key has its type.
    fn commit(
        &self,
        lease: &Lease,
        commit: &Commit,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// The last commit of the consumer's list, by any replica.
    fn progress(
        &self,
        consumer: Stage,
    ) -> impl Future<Output = Result<Progress, QueueError>> + Send;

    /// Counters, lengths, instance and time at one instant.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, QueueError>> + Send;
}
