//! Reading and replaying dead letters.

use model::dead_letter::Summary;

use crate::error::QueueError;
use crate::ledger::Counter;
use crate::list::List;

/// An entry of the list of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterEntry {
    /// Its position, as a hint to find it again.
    pub place: i64,
    /// The element, see `model::dead_letter`.
    pub element: Vec<u8>,
}

/// Numbers of dead letters. There are few kinds, so they are searched one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kinds(pub Vec<(Option<Summary>, usize)>);

impl Kinds {
    /// Counts an element.
    pub(crate) fn add(&mut self, element: &[u8]) {
        let kind = Summary::of(element);
        match self.0.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.0.push((kind, 1)),
        }
    }
}

/// What a dead letter holds, to append to its list again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The dead letter, as it was read.
    pub entry: DeadLetterEntry,
    /// The dead letter with a mark, which replaces it.
    pub marked: Vec<u8>,
    /// The list to append to: [`List::Raw`] or [`List::Normalized`].
    pub list: List,
    /// The elements; several if its message holds several samples.
    pub elements: Vec<Vec<u8>>,
}

impl Replay {
    /// The counter of the replay.
    pub(crate) const fn counter(&self) -> Counter {
        match self.list {
            List::Normalized => Counter::RowsReplayed,
            List::Raw | List::Dead => Counter::RawReplayed,
        }
    }
}

/// The result of a [`Replay`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// The elements were appended and the dead letter marked.
    Done,
    /// The dead letter was marked or trimmed meanwhile. Nothing was changed.
    Gone,
    /// The list is at its limit. Nothing was changed.
    Full {
        /// Elements in the list.
        length: usize,
    },
}

/// A queue whose dead letters can be read and replayed, while stages use it.
pub trait DeadLetters {
    /// Reads up to `max` dead letters after the first `skip`, the oldest first.
    fn dead_letters(
        &self,
        skip: usize,
        max: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetterEntry>, QueueError>> + Send;

    /// Numbers of dead letters by what [`Summary`] tells; `None` are elements in another format. Reads all
    /// of them, in steps, without decoding payloads.
    fn dead_letter_kinds(&self) -> impl Future<Output = Result<Kinds, QueueError>> + Send;

    /// Appends the elements, counts them and marks the dead letter, atomically. A marked dead letter
    /// isn't found any more, so none is replayed twice, also not by a retry after
    /// [`QueueError::Unknown`].
    fn replay(&self, replay: &Replay) -> impl Future<Output = Result<Replayed, QueueError>> + Send;

    /// Replaces the dead letter by what is left of it (see `DeadLetter::discarded`), in its place. Returns false
    /// if it was replaced or trimmed meanwhile; then nothing was changed.
    fn discard(
        &self,
        entry: &DeadLetterEntry,
        left: &[u8],
    ) -> impl Future<Output = Result<bool, QueueError>> + Send;
}
