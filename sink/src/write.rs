//! Writes a batch of rows, finds the rows that the store rejects, and detects a store that rejects
//! everything.
//!
//! A store that rejects a batch doesn't reliably name the rows. So the batch is halved until each
//! rejected row is alone, or the store says that all of them are at fault. A row that the store's message
//! blames becomes a dead letter, however many there are. A row that is rejected for an unknown reason
//! does so only if the store accepts others. All writes are in the batch's order, because the later of two values for one
//! cell has to win.

use std::ops::Range;
use std::time::Duration;

use model::row::Row;
use store::{RowsAtFault, Store, WriteError};

#[cfg(test)]
mod tests;

/// After this many rows that were rejected for unknown reasons, and none accepted, the store is assumed
/// to be at fault.
const TOO_MANY_UNEXPLAINED: usize = 100;

/// The result of a batch: each row is either stored or rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of stored rows.
    pub stored: usize,
    /// The rejected rows, in the batch's order.
    pub rejected: Vec<Rejected>,
}

/// A row that the store rejects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its index in the batch.
    pub index: usize,
    /// The store's message.
    pub detail: String,
}

/// Why a batch wasn't written. Some of its rows may be stored. The whole batch has to be written again,
/// which doesn't change stored rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritten {
    /// Write it again soon: the store is unavailable.
    #[error("{detail}")]
    Retry {
        /// What happened.
        detail: String,
        /// How long the store asked to wait, if known.
        after: Option<Duration>,
    },
    /// Hold the batch: an operator has to correct the settings or the store.
    #[error("{detail}")]
    Hold {
        /// What to check.
        detail: String,
    },
}

/// Writes batches to a store.
#[derive(Debug)]
pub struct Writer<S> {
    store: S,
    /// Rows rejected for unknown reasons since the last accepted one. They became dead letters.
    unexplained: usize,
}

impl<S: Store> Writer<S> {
    /// A writer to `store`.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self {
            store,
            unexplained: 0,
        }
    }

    /// Checks whether the store accepts writes, without writing rows.
    pub async fn preflight(&self) -> Result<(), Unwritten> {
        self.store.preflight().await.map_err(unwritten)
    }

    /// Writes a batch. After an error, the same rows have to be written again, possibly with later rows
    /// behind them: if one of those is accepted, the store isn't at fault.
    pub async fn write(&mut self, rows: &[Row<'_>]) -> Result<Written, Unwritten> {
        let mut attempt = Attempt::new(&self.store, rows);
        let result = attempt.run().await;
        let Attempt {
            accepted_any,
            rejected,
            unexplained,
            ..
        } = attempt;
        if accepted_any {
            self.unexplained = 0;
        }
        result?;
        if !accepted_any && let Some(last) = unexplained.last() {
            let total = self.unexplained + unexplained.len();
            if total >= TOO_MANY_UNEXPLAINED {
                let counts = (unexplained.len(), rows.len(), self.unexplained);
                return Err(held(counts, last));
            }
            self.unexplained = total;
        }
        Ok(Written {
            stored: rows.len() - rejected.len(),
            rejected,
        })
    }
}

/// The error of a batch whose rows aren't discarded, because the store may be at fault. `counts` are its
/// rows that were refused for unknown reasons, all its rows, and such rows of earlier batches.
fn held((refused, all, earlier): (usize, usize, usize), last: &str) -> Unwritten {
    let earlier = match earlier {
        0 => String::new(),
        rows => format!(" ({rows} before them became dead letters)"),
    };
    Unwritten::Hold {
        detail: format!(
            "the store refused {refused} of {all} rows for unknown reasons and accepted none{earlier}, \
             so it may be at fault itself; the rows stay in the list and are written again; the last \
             answer: {last}"
        ),
    }
}

/// One pass over a batch.
struct Attempt<'a, 'r, S> {
    store: &'a S,
    rows: &'a [Row<'r>],
    accepted_any: bool,
    preflighted: bool,
    rejected: Vec<Rejected>,
    /// The store's messages for the rows that were rejected for unknown reasons.
    unexplained: Vec<String>,
}

/// What became of a range of rows.
enum Sent {
    Accepted,
    /// At least one row is rejected.
    Rejected(String, RowsAtFault),
    TooLarge(String),
}

impl<'a, 'r, S: Store> Attempt<'a, 'r, S> {
    fn new(store: &'a S, rows: &'a [Row<'r>]) -> Self {
        Self {
            store,
            rows,
            accepted_any: false,
            preflighted: false,
            rejected: Vec::new(),
            unexplained: Vec::new(),
        }
    }

    async fn run(&mut self) -> Result<(), Unwritten> {
        if self.rows.is_empty() {
            return Ok(());
        }
        // The ranges to write; the last one is next. Its length is at most the number of binary digits
        // of the batch's length.
        let whole = 0..self.rows.len();
        let mut pending = vec![whole];
        while let Some(range) = pending.pop() {
            let (detail, at_fault) = match self.send(range.clone()).await? {
                Sent::Accepted => {
                    self.accepted_any = true;
                    continue;
                }
                Sent::Rejected(detail, at_fault) => (detail, at_fault),
                Sent::TooLarge(detail) => (detail, RowsAtFault::Unknown),
            };
            if range.len() > 1 && at_fault != RowsAtFault::All {
                let middle = range.start + range.len() / 2;
                pending.push(middle..range.end);
                pending.push(range.start..middle);
                continue;
            }
            if at_fault == RowsAtFault::Unknown {
                self.unexplained.push(detail.clone());
            }
            self.rejected.extend(range.map(|index| Rejected {
                index,
                detail: detail.clone(),
            }));
        }
        Ok(())
    }

    /// Sends rows. After the first rejection, a preflight has to succeed; otherwise the rows aren't the
    /// cause.
    async fn send(&mut self, range: Range<usize>) -> Result<Sent, Unwritten> {
        let is_single = range.len() == 1;
        let sent = match self.store.write(&self.rows[range]).await {
            Ok(()) => return Ok(Sent::Accepted),
            Err(WriteError::Rejected { detail, at_fault }) => Sent::Rejected(detail, at_fault),
            Err(WriteError::TooLarge { detail }) => Sent::TooLarge(detail),
            Err(error) => return Err(unwritten(error)),
        };
        let is_final = is_single || matches!(sent, Sent::Rejected(..));
        if is_final && !self.preflighted {
            self.store.preflight().await.map_err(unwritten)?;
            self.preflighted = true;
        }
        Ok(sent)
    }
}

/// Maps an error that ends the batch.
pub(crate) fn unwritten(error: WriteError) -> Unwritten {
    match error {
        WriteError::Retry { detail, after } => Unwritten::Retry { detail, after },
        WriteError::Denied { detail }
        | WriteError::TooLarge { detail }
        | WriteError::Rejected { detail, .. } => Unwritten::Hold { detail },
    }
}
