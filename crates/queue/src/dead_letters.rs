//! Dead letters, for people who look at them and put them through once more.

use crate::error::QueueError;
use crate::ledger::Counter;
use crate::list::List;

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterEntry {
    /// Where it was found: helps to find it again.
    pub place: i64,
    /// The element of the list, see `model::dead_letter`.
    pub element: Vec<u8>,
}

/// What a letter holds, put into a list once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The letter, as it was read.
    pub letter: DeadLetterEntry,
    /// What is put in its place: the letter with a mark.
    pub marked: Vec<u8>,
    /// Where the element goes: [`List::Raw`] or [`List::Normalized`].
    pub list: List,
    /// The element.
    pub element: Vec<u8>,
}

impl Replay {
    /// Where it is counted.
    pub(crate) const fn counter(&self) -> Counter {
        match self.list {
            List::Normalized => Counter::RowsReplayed,
            List::Raw | List::Dead => Counter::RawReplayed,
        }
    }
}

/// What became of a [`Replay`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// The element is in its list, the letter is marked.
    Done,
    /// The letter is there no more as it was: marked meanwhile, or trimmed. Nothing was changed.
    Gone,
    /// The list is at its limit. Nothing was changed.
    Full {
        /// Elements in it.
        length: usize,
    },
}

/// A queue whose dead letters can be read and replayed, beside the stages that work on it.
pub trait DeadLetters {
    /// Up to `max` letters behind the first `skip`, the oldest first.
    fn dead_letters(
        &self,
        skip: usize,
        max: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetterEntry>, QueueError>> + Send;

    /// Appends the element, counts it as replayed, and marks the letter, all at once or not at all. A
    /// letter that has been marked is no longer found, so that none is replayed twice; also not by
    /// who tries again after [`QueueError::Unknown`].
    fn replay(&self, replay: &Replay) -> impl Future<Output = Result<Replayed, QueueError>> + Send;
}
