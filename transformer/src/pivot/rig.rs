//! What is known of one rig: its newest tick and its rows.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Name, Timestamp};

use super::rows::{RowEntry, RowState};
use super::state;

/// A rig that has rows, or had some within the idle time.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) name: Name<'static>,
    pub(super) newest: Timestamp,
    /// When its last reading arrived, since the lease was taken.
    pub(super) last_arrival: Duration,
    pub(super) rows: BTreeMap<Timestamp, RowEntry>,
}

impl Rig {
    pub(super) const fn new(name: Name<'static>, newest: Timestamp, now: Duration) -> Self {
        Self {
            name,
            newest,
            last_arrival: now,
            rows: BTreeMap::new(),
        }
    }

    pub(super) fn has_open_rows(&self) -> bool {
        let mut rows = self.rows.values();
        rows.any(|entry| matches!(entry.state, RowState::Open(_)))
    }

    /// Forgets emitted rows whose ticks are behind the window; open ones wait for their timer.
    pub(super) fn forget_behind_window(&mut self, window: Duration, deletes: &mut Vec<Vec<u8>>) {
        let oldest = self.newest.minus(window);
        let is_emitted =
            |_: &Timestamp, entry: &mut RowEntry| matches!(entry.state, RowState::Emitted(_));
        for (tick, entry) in self.rows.extract_if(..oldest, is_emitted) {
            if entry.stored {
                deletes.push(state::row_key(&self.name, tick));
            }
        }
    }

    /// Forgets all rows.
    pub(super) fn forget_all(&mut self, deletes: &mut Vec<Vec<u8>>) {
        for (tick, entry) in std::mem::take(&mut self.rows) {
            if entry.stored {
                deletes.push(state::row_key(&self.name, tick));
            }
        }
    }
}
