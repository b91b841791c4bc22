//! Writes a batch of rows, finds the rows that the store rejects, and detects a store that rejects
//! everything.
//!
//! A store that rejects a batch doesn't reliably name the rows. So the batch is halved until each
//! rejected row is alone. All writes are in the batch's order, because the later of two values for one
//! cell has to win.

use std::ops::Range;
use std::time::Duration;

use model::row::Row;
use store::{Store, WriteError};

#[cfg(test)]
mod tests;

/// After this many rejected rows in sequence, the store is assumed to be at fault.
const TOO_MANY_REFUSED: usize = 100;

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

/// Writes batches to a store, and counts rows that were rejected in sequence.
#[derive(Debug)]
pub struct Writer<S> {
    store: S,
    /// Rows rejected since the last accepted one.
    streak: usize,
    /// The first row of the sequence for which the batch is held.
    held: Option<Row<'static>>,
}

impl<S: Store> Writer<S> {
    /// A writer to `store`.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self {
            store,
            streak: 0,
            held: None,
        }
    }

    /// Checks whether the store accepts writes, without writing rows.
    pub async fn preflight(&self) -> Result<(), Unwritten> {
        self.store.preflight().await.map_err(unwritten)
    }

    /// Writes a batch. After an error, the same rows have to be written again, possibly with later rows
    /// behind them: if one of those is accepted, the store isn't at fault.
    pub async fn write(&mut self, rows: &[Row<'_>]) -> Result<Written, Unwritten> {
        let mut attempt = Attempt {
            store: &self.store,
            rows,
            held: self.held.as_ref(),
            streak: self.streak,
            streak_start: None,
            accepted_any: false,
            preflighted: false,
            rejected: Vec::new(),
        };
        let ended = attempt.run().await;
        let Attempt {
            streak,
            streak_start,
            accepted_any,
            rejected,
            ..
        } = attempt;
        match ended {
            Ok(()) => {
                (self.streak, self.held) = (streak, None);
                Ok(Written {
                    stored: rows.len() - rejected.len(),
                    rejected,
                })
            }
            Err(Stop::Streak(detail)) => {
                self.streak = streak;
                self.held = streak_start.map(|index| rows[index].clone().into_owned());
                Err(Unwritten::Hold { detail })
            }
            Err(Stop::Store(why)) => {
                // The rejections of this batch occur again in the next try and must not count twice.
                if accepted_any {
                    self.streak = 0;
                }
                Err(why)
            }
        }
    }
}

/// Why an attempt ended early.
enum Stop {
    Streak(String),
    Store(Unwritten),
}

/// One pass over a batch.
struct Attempt<'a, 'r, S> {
    store: &'a S,
    rows: &'a [Row<'r>],
    held: Option<&'a Row<'static>>,
    streak: usize,
    streak_start: Option<usize>,
    accepted_any: bool,
    preflighted: bool,
    rejected: Vec<Rejected>,
}

impl<S: Store> Attempt<'_, '_, S> {
    async fn run(&mut self) -> Result<(), Stop> {
        if self.rows.is_empty() {
            return Ok(());
        }
        // The ranges to write; the last one is next. Its length is at most the number of binary digits
        // of the batch's length.
        let whole = 0..self.rows.len();
        let mut pending = vec![whole];
        while let Some(range) = pending.pop() {
            let Err(detail) = self.send(range.clone()).await? else {
                continue;
            };
            if range.len() > 1 {
                let middle = range.start + range.len() / 2;
                pending.push(middle..range.end);
                pending.push(range.start..middle);
                continue;
            }
            if !self.store.blames_rows() {
                self.refused(range.start);
            }
            if self.streak >= TOO_MANY_REFUSED && !self.accepts_any(&pending).await? {
                return Err(Stop::Streak(format!(
                    "{TOO_MANY_REFUSED} rows one after another were refused and none accepted \
                     between, so something is wrong with the store, not with the rows, and none \
                     of them is discarded; the last answer: {detail}"
                )));
            }
            self.rejected.push(Rejected {
                index: range.start,
                detail,
            });
        }
        Ok(())
    }

    /// Sends rows. Returns the store's message if it rejects them. After the first rejection, a preflight
    /// has to succeed; otherwise the rows aren't the cause.
    async fn send(&mut self, range: Range<usize>) -> Result<Result<(), String>, Stop> {
        let single = range.len() == 1;
        let (detail, ask) = match self.store.write(&self.rows[range]).await {
            Ok(()) => {
                self.streak = 0;
                self.streak_start = None;
                self.accepted_any = true;
                return Ok(Ok(()));
            }
            Err(WriteError::Rejected { detail }) => (detail, true),
            Err(WriteError::TooLarge { detail }) => (detail, single),
            Err(error) => return Err(Stop::Store(unwritten(error))),
        };
        if ask && !self.preflighted {
            let answer = self.store.preflight().await;
            answer.map_err(|error| Stop::Store(unwritten(error)))?;
            self.preflighted = true;
        }
        Ok(Err(detail))
    }

    fn refused(&mut self, index: usize) {
        self.streak += 1;
        self.streak_start.get_or_insert(index);
        // The rows behind it were rejected the last time, one by one. Instead of writing each of them
        // again, it is enough that none of the pending ranges is accepted.
        if self.held == Some(&self.rows[index]) {
            self.streak = self.streak.max(TOO_MANY_REFUSED);
        }
    }

    /// Whether the store accepts any pending range, starting with the next one. They stay pending: an
    /// accepted range is written again in its turn, to keep the order.
    async fn accepts_any(&mut self, pending: &[Range<usize>]) -> Result<bool, Stop> {
        for range in pending.iter().rev() {
            if self.send(range.clone()).await?.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Maps an error that ends the batch.
fn unwritten(error: WriteError) -> Unwritten {
    match error {
        WriteError::Retry { detail, after } => Unwritten::Retry { detail, after },
        WriteError::Denied { detail }
        | WriteError::TooLarge { detail }
        | WriteError::Rejected { detail } => Unwritten::Hold { detail },
    }
}
