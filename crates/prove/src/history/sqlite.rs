//! The one process's file has a record beside its lists, which triggers write to.

use std::path::Path;

use queue::list::List;
use queue::testing::audit::{Audited, audited};

use super::{History, mentions};
use crate::message::{Cell, Epoch};

/// Reads the record in the queue's file.
#[must_use]
pub fn read(queue: &Path, epoch: Epoch) -> History {
    let mut history = History::default();
    audited(queue, |event| match event {
        Audited::Appended(List::Raw, item) => history.append(&item, epoch),
        Audited::Appended(List::Normalized, item) => history.emit(&item, epoch),
        Audited::Appended(List::Dead, _) => history.letters += 1,
        Audited::Committed {
            consumer,
            number,
            by,
            holder,
            ..
        } => history.commit(&consumer, number, &by, Some(&holder)),
    });
    history
}

/// What happened to one cell, in order, with the commits that were next, as lines of text.
#[must_use]
pub fn trail(queue: &Path, cell: Cell, epoch: Epoch) -> Vec<String> {
    let mut lines = Vec::new();
    // The next commit of each is shown: it took the element, or is the one that appended it.
    let mut open: Vec<String> = Vec::new();
    audited(queue, |event| match event {
        Audited::Appended(list, item) if mentions(&item, cell, epoch) => {
            let item = String::from_utf8_lossy(&item).into_owned();
            lines.push(format!("to {list:?}: {item}"));
            open = vec!["transformer".into(), "sink".into()];
        }
        Audited::Appended(..) => {}
        Audited::Committed {
            consumer,
            number,
            by,
            ..
        } => {
            let before = open.len();
            open.retain(|waiting| *waiting != consumer);
            if open.len() < before {
                lines.push(format!("next commit of the {consumer}: {number}, by {by}"));
            }
        }
    });
    lines
}
