//! What is known of one series: its newest tick and its rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;

use super::fields::Fields;
use super::rows::{RowEntry, RowState};
use super::{Inconsistent, state};

/// A series that has rows, or had some within the idle time.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) key: Arc<str>,
    pub(super) newest: Timestamp,
    /// When its last reading arrived, since the lease was taken.
    pub(super) last_arrival: Duration,
    pub(super) rows: BTreeMap<Timestamp, RowEntry>,
}

impl Series {
    pub(super) const fn new(key: Arc<str>, newest: Timestamp, now: Duration) -> Self {
        Self {
            key,
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
    pub(super) fn forget_behind_window(
        &mut self,
        window: Duration,
        fields: &mut Fields,
        deletes: &mut Vec<Vec<u8>>,
    ) -> Result<(), Inconsistent> {
        let oldest = self.newest.minus(window);
        let is_emitted =
            |_: &Timestamp, entry: &mut RowEntry| matches!(entry.state, RowState::Emitted(_));
        for (tick, entry) in self.rows.extract_if(..oldest, is_emitted) {
            forget(&self.key, tick, &entry, fields, deletes)?;
        }
        Ok(())
    }

    /// Forgets all rows; none of them may be open.
    pub(super) fn forget_all(
        &mut self,
        fields: &mut Fields,
        deletes: &mut Vec<Vec<u8>>,
    ) -> Result<(), Inconsistent> {
        for (tick, entry) in std::mem::take(&mut self.rows) {
            forget(&self.key, tick, &entry, fields, deletes)?;
        }
        Ok(())
    }
}

/// Ends the use of an emitted row's fields, and deletes its key.
fn forget(
    series: &str,
    tick: Timestamp,
    entry: &RowEntry,
    fields: &mut Fields,
    deletes: &mut Vec<Vec<u8>>,
) -> Result<(), Inconsistent> {
    let RowState::Emitted(cells) = &entry.state else {
        return Err(Inconsistent::FORGOTTEN_OPEN_ROW);
    };
    for cell in cells {
        fields.remove_cell(cell.field)?;
    }
    if entry.stored {
        deletes.push(state::row_key(series, tick));
    }
    Ok(())
}
