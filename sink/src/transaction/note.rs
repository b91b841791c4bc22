//! The note of a transaction: which batch it has written.

use queue::consume::Batch;
use serde::{Deserialize, Serialize};

use crate::refusals::Refusals;

/// Most characters of a reason, so that the note of a batch whose rows are all refused is small enough for a record.
const MAX_DETAIL: usize = 200;
/// Most reasons that differ; rows with further ones have the next one.
const MAX_REASONS: usize = 1_000;
const MANY_REASONS: &str = "refused; the batch had too many different reasons to keep each";

/// Which elements a transaction has written, and what becomes of those that it hasn't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitNote {
    /// The queue.
    pub(crate) instance: String,
    /// The list's commit number, which the commit that takes the elements has to contain.
    pub(crate) number: u64,
    /// The number of elements.
    pub(crate) take: usize,
    /// Rows that stores have refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<RefusedRows>,
}

/// Rows that stores have refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RefusedRows {
    store: String,
    detail: String,
    /// Indexes of their elements.
    places: Vec<usize>,
}

impl CommitNote {
    /// The note of all elements of a batch.
    pub(crate) fn new(instance: &str, batch: &Batch, refusals: &Refusals) -> Self {
        let mut refused: Vec<RefusedRows> = Vec::new();
        for (place, store, detail) in refusals.iter() {
            let detail: String = if refused.len() < MAX_REASONS {
                detail.chars().take(MAX_DETAIL).collect()
            } else {
                MANY_REASONS.to_owned()
            };
            let mut known = refused.iter_mut();
            match known.find(|rows| rows.store == store && rows.detail == detail) {
                Some(rows) => rows.places.push(place),
                None => refused.push(RefusedRows {
                    store: store.to_owned(),
                    detail,
                    places: vec![place],
                }),
            }
        }
        Self {
            instance: instance.to_owned(),
            number: batch.peek.number,
            take: batch.peek.items.len(),
            refused,
        }
    }

    pub(crate) fn encode(&self) -> String {
        // A struct of strings and numbers always has a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The note that was written, unless another program wrote it.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let note = serde_json::from_str(text);
        note.inspect_err(|error| {
            tracing::error!(
                note = text,
                %error,
                "the last transaction has a note that isn't Rigline's; going on, rows may be written twice"
            );
        })
        .ok()
    }

    /// The rows that stores have refused.
    pub(crate) fn refusals(&self) -> Refusals {
        let mut refusals = Refusals::default();
        for rows in &self.refused {
            for place in &rows.places {
                refusals.add(*place, &rows.store, &rows.detail);
            }
        }
        refusals
    }

    /// Logs if the note of the last transaction doesn't fit to the list, whose next commit has this number.
    pub(crate) fn report(&self, instance: &str, number: u64) {
        if self.instance != instance {
            tracing::error!(
                written_for = self.instance,
                queue = instance,
                "the last transaction was written for another queue: this one was emptied or exchanged, or two \
                 pipelines of the same name write to the same brokers. Going on; rows may be written twice"
            );
        } else if self.number > number {
            tracing::error!(
                written = self.number,
                queue = number,
                "the last transaction is ahead of the queue, which was restored to an earlier state. Going on; rows \
                 since then are written again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use queue::Peek;
    use queue::consume::Batch;

    use super::{CommitNote, MAX_DETAIL};
    use crate::refusals::Refusals;

    fn batch(number: u64, items: usize) -> Batch {
        Batch {
            peek: Peek {
                number,
                items: vec![b"x".to_vec(); items],
                ..Peek::default()
            },
            reached_end: true,
            now: Duration::ZERO,
        }
    }

    #[test]
    fn note_has_the_refused_rows() {
        let mut refusals = Refusals::default();
        refusals.add(4, "kafka", "too large");
        refusals.add(1, "influx", "too old");
        refusals.add(7, "kafka", "too large");
        let note = CommitNote::new("i", &batch(12, 9), &refusals);
        let read = CommitNote::decode(&note.encode()).unwrap();
        assert_eq!(read, note);
        assert_eq!((read.number, read.take), (12, 9));
        assert_eq!(read.refusals(), refusals);
        assert_eq!(read.refused.len(), 2);
    }

    #[test]
    fn note_of_a_batch_that_is_refused_fits_into_a_record() {
        let mut refusals = Refusals::default();
        for place in 0..50_000 {
            refusals.add(place, "kafka", &format!("{place} {}", "ü".repeat(2_000)));
        }
        let note = CommitNote::new("i", &batch(0, 50_000), &refusals);
        let text = note.encode();
        assert!(text.len() < 1_000_000, "{}", text.len());
        let read = CommitNote::decode(&text).unwrap().refusals();
        assert_eq!(read.iter().count(), 50_000);
        let longest = read.iter().map(|(_, _, detail)| detail.chars().count());
        assert_eq!(longest.max(), Some(MAX_DETAIL));
    }

    #[test]
    fn other_notes_are_none() {
        assert_eq!(CommitNote::decode("{\"number\": 1}"), None);
    }
}
