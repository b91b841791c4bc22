//! Stores that can't merge rows, and take each batch exactly once instead.

use model::row::Row;

use crate::WriteError;

/// A store that rows are written to in transactions, so that a batch is visible as a whole and once.
///
/// Each transaction has a note, which the next writer reads: it tells which batch was written last. Only one writer can
/// write, the one that was opened last.
pub trait TransactionalStore: Send + Sync {
    /// Encoded rows.
    type Records: Send;

    /// Ends the transactions of earlier writers, so that they can't write any more, and returns the note of the last
    /// transaction that was committed, if there is one.
    fn open(&mut self) -> impl Future<Output = Result<Option<String>, WriteError>> + Send;

    /// Whether it can write. It can't before [`open`](Self::open), and after an error or a dropped call of
    /// [`write`](Self::write), whose outcome is told by the note of the next [`open`](Self::open).
    fn is_open(&self) -> bool;

    /// Encodes rows. Also returns the indexes of rows that the store can't have, each with the reason.
    fn encode(&self, rows: &[Row<'_>]) -> (Self::Records, Vec<(usize, String)>);

    /// Writes rows with a note, in one transaction. Never [`WriteError::TooLarge`] or [`WriteError::Rejected`].
    fn write(
        &mut self,
        records: Self::Records,
        note: String,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Checks whether the store can be reached. Never [`WriteError::TooLarge`] or [`WriteError::Rejected`].
    fn preflight(&self) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// No store, for pipelines and builds without one.
#[derive(Debug, Clone, Copy)]
pub enum NoTransactions {}

impl TransactionalStore for NoTransactions {
    type Records = ();

    async fn open(&mut self) -> Result<Option<String>, WriteError> {
        match *self {}
    }

    fn is_open(&self) -> bool {
        match *self {}
    }

    fn encode(&self, _: &[Row<'_>]) -> ((), Vec<(usize, String)>) {
        match *self {}
    }

    async fn write(&mut self, (): (), _: String) -> Result<(), WriteError> {
        match *self {}
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        match *self {}
    }
}
