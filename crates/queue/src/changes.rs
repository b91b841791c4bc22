//! Arguments and results of a queue's calls.

use std::time::Duration;

use model::position::PositionStep;
use model::time::Timestamp;

use crate::ledger::{Counter, Ledger, delta};
use model::Stage;

/// The right to consume a list for a limited time, with its fencing token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The stage that holds it.
    pub consumer: Stage,
    /// The fencing token, which is never reused.
    pub token: String,
    /// How long it lasts from each renewal or commit.
    pub limit: Duration,
}

/// Elements that the ingester appends in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Append {
    /// Readings for the raw list; counted as `accepted`.
    pub raw: Vec<Vec<u8>>,
    /// Dead letters; counted as `dead_ingester`.
    pub dead: Vec<Vec<u8>>,
    /// Rejected inputs without a dead letter, because the quota of their series is used up; counted as
    /// `dead_ingester` and `trimmed`.
    pub over_quota: usize,
    /// How far the source was read, if the source has positions: a step for each of its partitions that
    /// elements come from.
    pub steps: Vec<PositionStep>,
}

/// Compares the positions of an append with the present ones. `None` if they are neither the ones before the
/// append nor the ones after it. An append without positions is always to be applied.
pub(crate) fn is_applied(
    steps: &[PositionStep],
    mut present: impl FnMut(&str) -> Option<String>,
) -> Option<bool> {
    let (mut before, mut after) = (true, !steps.is_empty());
    for step in steps {
        let found = present(&step.partition).unwrap_or_default();
        before &= found == step.from;
        after &= found == step.to;
    }
    match (before, after) {
        (_, true) => Some(true),
        (true, false) => Some(false),
        (false, false) => None,
    }
}

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Everything was appended and is durable, by this call or, if the append has positions, by an earlier
    /// one.
    Done {
        /// Elements in the raw list now.
        length: usize,
        /// The counter `accepted` after the append. If it is lower than expected, readings have vanished.
        accepted: i64,
    },
    /// Nothing was appended, because the raw list is at its limit.
    Full {
        /// Elements in the raw list.
        length: usize,
    },
    /// Nothing was appended, because a position is neither the expected one nor the one to set: another
    /// process has read on, or the queue was restored. Read the positions again.
    Moved,
}

/// The elements at a list's head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peek {
    /// The list's commit number, which the next commit has to contain.
    pub number: u64,
    /// The first elements, in order; nothing was removed.
    pub items: Vec<Vec<u8>>,
    /// Elements in the list: a hint.
    pub length: usize,
    /// Elements in the list that this consumer appends to: a hint (0 for the sink).
    pub output_length: usize,
}

impl Peek {
    /// What this peek, of the elements after those of a commit, is once the commit was applied.
    pub(crate) fn after(self, commit: &Commit) -> Self {
        Self {
            number: commit.number + 1,
            length: self.length.saturating_sub(commit.take),
            output_length: self.output_length + commit.outputs.len(),
            items: self.items,
        }
    }
}

/// One atomic change: take elements off the head, append, write state, add to the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The list's expected commit number.
    pub number: u64,
    /// How many elements to take off the head.
    pub take: usize,
    /// The last element to take, as it was peeked at. It detects another program that pushed to the head
    /// or popped from it since, so that the commit would trim other elements. `None` skips the check.
    pub last_taken: Option<Vec<u8>>,
    /// Rows for the normalized list (the transformer's only output).
    pub outputs: Vec<Vec<u8>>,
    /// Dead letters.
    pub dead: Vec<Vec<u8>>,
    /// Rejected inputs without a dead letter, because the quota of their series is used up; counted like
    /// dead letters, and as `trimmed`.
    pub over_quota: usize,
    /// State to write.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys of state to delete; none of them is also put.
    pub deletes: Vec<Vec<u8>>,
    /// Additions to counters beyond those that follow from the rest (see [`Commit::ledger`]).
    pub counts: Vec<(Counter, i64)>,
}

impl Commit {
    /// Whether the commit changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.take == 0
            && self.outputs.is_empty()
            && self.dead.is_empty()
            && self.over_quota == 0
            && self.puts.is_empty()
            && self.deletes.is_empty()
            && self.counts.iter().all(|(_, delta)| *delta == 0)
    }

    /// All additions to the ledger: the numbers of elements taken and appended, and `counts`.
    #[must_use]
    pub fn ledger(&self, consumer: Stage) -> Vec<(Counter, i64)> {
        let (taken, dead) = match consumer {
            Stage::Ingester => (None, Some(Counter::DeadIngester)),
            Stage::Transformer => (Some(Counter::RawTaken), Some(Counter::DeadTransformer)),
            Stage::Sink => (Some(Counter::RowsTaken), Some(Counter::DeadSink)),
            Stage::Alerts => (None, None),
        };
        let own = [
            taken.map(|counter| (counter, delta(self.take))),
            dead.map(|counter| (counter, delta(self.dead.len() + self.over_quota))),
            Some((Counter::Trimmed, delta(self.over_quota))),
            Some((Counter::RowsOut, delta(self.outputs.len()))),
        ];
        let additions = own.into_iter().flatten().chain(self.counts.iter().copied());
        additions.filter(|(_, delta)| *delta != 0).collect()
    }
}

/// A consumer's whole state: keys with their values.
pub type State = Vec<(Vec<u8>, Vec<u8>)>;

/// The last commit of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The commit number.
    pub number: u64,
    /// The token of the last commit; empty if there was none.
    pub by: String,
}

/// The counters and lengths of a queue at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The queue's id. It changes if the queue is flushed or replaced.
    pub instance: String,
    /// The server's clock.
    pub server_time: Timestamp,
    /// Counters and lengths.
    pub ledger: Ledger,
}
