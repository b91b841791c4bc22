//! What goes into a queue's calls and what comes out of them.

use std::time::Duration;

use model::time::Timestamp;

use crate::ledger::{Counter, Ledger};
use model::Stage;

/// The right to consume, for a time, with the token that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub consumer: Stage,
    /// The fencing token: never given twice.
    pub token: String,
    /// How long it lasts from each renewal or commit.
    pub limit: Duration,
}

/// What the ingester appends in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Append {
    /// Readings for the raw list; counted as `accepted`.
    pub raw: Vec<Vec<u8>>,
    /// Dead letters; counted as `dead_ingester`.
    pub dead: Vec<Vec<u8>>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// All of it is durable.
    Done {
        /// Elements in the raw list now.
        length: usize,
        /// What the counter `accepted` is now: less than before means that readings have vanished.
        accepted: i64,
    },
    /// Nothing was appended: the raw list was at its limit.
    Full {
        /// Elements in the raw list.
        length: usize,
    },
}

/// What stands at a list's head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peek {
    /// The list's commit number, which the next commit has to name.
    pub number: u64,
    /// The first elements, in order; nothing was removed.
    pub items: Vec<Vec<u8>>,
    /// Elements in the list: a hint.
    pub length: usize,
    /// Elements in the list that this consumer appends to: a hint (0 for the sink).
    pub output_length: usize,
}

/// One atomic change: take elements off the head, append, write state, add to the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The number that the list must be at.
    pub number: u64,
    /// How many elements to take off the head.
    pub take: usize,
    /// The last element that is taken, as it was peeked at: should somebody have pushed to the head
    /// or popped from it since, other elements would be trimmed than those that were read. `None`
    /// checks nothing.
    pub last_taken: Option<Vec<u8>>,
    /// Rows for the normalized list (the transformer's only output).
    pub outputs: Vec<Vec<u8>>,
    /// Dead letters.
    pub dead: Vec<Vec<u8>>,
    /// State to write.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys of state to delete; none of them is also put.
    pub deletes: Vec<Vec<u8>>,
    /// Additions to counters beyond those that follow from the rest (see [`Commit::ledger`]).
    pub counts: Vec<(Counter, i64)>,
}

impl Commit {
    /// Whether it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.take == 0
            && self.outputs.is_empty()
            && self.dead.is_empty()
            && self.puts.is_empty()
            && self.deletes.is_empty()
            && self.counts.iter().all(|(_, delta)| *delta == 0)
    }

    /// All additions to the ledger: what was taken, appended and buried counts itself.
    #[must_use]
    pub fn ledger(&self, consumer: Stage) -> Vec<(Counter, i64)> {
        let (taken, dead) = match consumer {
            Stage::Ingester => (None, Counter::DeadIngester),
            Stage::Transformer => (Some(Counter::RawTaken), Counter::DeadTransformer),
            Stage::Sink => (Some(Counter::RowsTaken), Counter::DeadSink),
        };
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let own = [
            taken.map(|counter| (counter, number(self.take))),
            Some((dead, number(self.dead.len()))),
            Some((Counter::RowsOut, number(self.outputs.len()))),
        ];
        let additions = own.into_iter().flatten().chain(self.counts.iter().copied());
        additions.filter(|(_, delta)| *delta != 0).collect()
    }
}

/// A consumer's whole state: keys with their values.
pub type State = Vec<(Vec<u8>, Vec<u8>)>;

/// How far a list's commits have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The commit number.
    pub number: u64,
    /// The token of the last commit; empty if there was none.
    pub by: String,
}

/// Everything countable about a queue, read in one consistent look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Made once for the queue's life; another one means another queue.
    pub instance: String,
    /// The server's clock.
    pub server_time: Timestamp,
    /// Counters and lengths.
    pub ledger: Ledger,
}
