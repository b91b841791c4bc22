//! Reads the changes from a table in the single process's file, which triggers fill.

use std::path::Path;

use queue::list::List;
use queue::testing::audit::{Audited, audited};

use super::{History, mentions};
use crate::message::{Cell, Epoch};

/// Reads all changes from the queue's file.
#[must_use]
pub fn read(queue: &Path, epoch: Epoch) -> History {
    let mut history = History::default();
    audited(queue, |event| match event {
        Audited::Appended(List::Raw, item) => history.append(&item, epoch),
        Audited::Appended(List::Normalized, item) => history.emit(&item, epoch),
        Audited::Appended(List::Dead, _) => history.dead_letters += 1,
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

/// The changes that concern one cell, in order, each with the commits that follow it, one line each.
#[must_use]
pub fn trail(queue: &Path, cell: Cell, epoch: Epoch) -> Vec<String> {
    let mut lines = Vec::new();
    // The next commit of each consumer either took the element or appended it.
    let mut open: Vec<String> = Vec::new();
    audited(queue, |event| match event {
        Audited::Appended(list, item) if mentions(&item, cell, epoch) => {
            let item = String::from_utf8_lossy(&item).into_owned();
            lines.push(format!("appended to {list:?}: {item}"));
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
