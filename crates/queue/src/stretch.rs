//! Reading a list without taking from it.

use crate::ledger::Counter;
use crate::list::List;

/// A part of a list. The position of an element is how many elements came before it since the queue was
/// created, so it stays the same while elements leave at the head.
///
/// Dead letters that weren't kept, because a quota was used up, count in the positions of later ones; so a
/// dead letter may be at a higher position than before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stretch {
    /// The queue's id. It changes if the queue is flushed or replaced.
    pub instance: String,
    /// The position after the list's last element.
    pub end: i64,
    /// The position of the first of the elements.
    pub first: i64,
    /// The elements, the oldest first.
    pub items: Vec<Vec<u8>>,
}

/// The counters of elements that left the list.
pub(crate) const fn gone(list: List) -> &'static [Counter] {
    match list {
        List::Raw => &[Counter::RawTaken],
        List::Normalized => &[Counter::RowsTaken],
        List::Dead => &[Counter::Trimmed, Counter::Discarded],
    }
}
