//! Writing a batch of rows: which of them are stored, which are at fault, and when not to go on.
//!
//! A store that refuses a batch doesn't reliably say which rows it means. So the batch is halved
//! until each refused row stands alone. Everything that has been written by then is written in the
//! batch's order, because of two values for one cell the later one has to win.

use std::ops::Range;
use std::time::Duration;

use model::row::Row;
use store::{Store, WriteError};

#[cfg(test)]
mod tests;

/// This many rows refused one after another, none accepted between: then the fault is taken to be
/// the store's.
const TOO_MANY_REFUSED: usize = 100;

/// What became of the rows of a batch: each is either stored or rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// How many are stored.
    pub stored: usize,
    /// The others, in the batch's order.
    pub rejected: Vec<Rejected>,
}

/// A row that the store doesn't take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// The store's words.
    pub detail: String,
}

/// Why a batch isn't done. Some of its rows may have been stored; the whole batch has to be written
/// again, which changes nothing about those.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritten {
    /// Soon: the store is away, busy or ill.
    #[error("{detail}")]
    Retry {
        /// What happened.
        detail: String,
        /// How long the store asked to be left alone, where that can be seen.
        after: Option<Duration>,
    },
    /// Slowly, after having said what to fix: a person has to look at the settings or at the store.
    #[error("{detail}")]
    Hold {
        /// What to look at.
        detail: String,
    },
}

/// Writes batches to a store, and remembers how many rows were refused one after another.
#[derive(Debug)]
pub struct Writer<S> {
    store: S,
    /// Rows refused since the last one was accepted.
    streak: usize,
    /// The first row of the streak that was held for.
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

    /// Whether the store would take rows now; writes none.
    pub async fn preflight(&self) -> Result<(), Unwritten> {
        self.store.preflight().await.map_err(unwritten)
    }

    /// Writes a batch. After an error the same rows are to be written again. Rows that have come
    /// in behind them meanwhile are welcome in the same batch: if one of those is accepted, the
    /// store isn't at fault.
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
                // The refusals of this batch will be seen again and must not count twice.
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
        // What is still to be written; the last one is next. Never longer than the batch's length
        // has binary digits.
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

    /// Sends rows: accepted, or refused with these words. Before the first refusal is believed,
    /// an empty write has to go through, else it isn't about the rows.
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
        // The rows behind it were refused the last time, one by one. Instead of asking for each of
        // them again it is enough that none of the pending ranges is accepted.
        if self.held == Some(&self.rows[index]) {
            self.streak = self.streak.max(TOO_MANY_REFUSED);
        }
    }

    /// Whether the store takes any of these ranges, tried from the nearest on. They stay pending:
    /// an accepted one is written again in its turn, to keep the order.
    async fn accepts_any(&mut self, pending: &[Range<usize>]) -> Result<bool, Stop> {
        for range in pending.iter().rev() {
            if self.send(range.clone()).await?.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// An error that ends the batch, whatever it was about.
fn unwritten(error: WriteError) -> Unwritten {
    match error {
        WriteError::Retry { detail, after } => Unwritten::Retry { detail, after },
        WriteError::Denied { detail }
        | WriteError::TooLarge { detail }
        | WriteError::Rejected { detail } => Unwritten::Hold { detail },
    }
}
