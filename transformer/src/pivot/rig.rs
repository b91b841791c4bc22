//! What is known of one rig: its newest tick and its rows.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Name, Timestamp};

use super::rows::{RowEntry, RowState};
use super::sensors::Sensors;
use super::{Inconsistent, state};

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
    pub(super) fn forget_behind_window(
        &mut self,
        window: Duration,
        sensors: &mut Sensors,
        deletes: &mut Vec<Vec<u8>>,
    ) -> Result<(), Inconsistent> {
        let oldest = self.newest.minus(window);
        let is_emitted =
            |_: &Timestamp, entry: &mut RowEntry| matches!(entry.state, RowState::Emitted(_));
        for (tick, entry) in self.rows.extract_if(..oldest, is_emitted) {
            forget(&self.name, tick, &entry, sensors, deletes)?;
        }
        Ok(())
    }

    /// Forgets all rows; none of them may be open.
    pub(super) fn forget_all(
        &mut self,
        sensors: &mut Sensors,
        deletes: &mut Vec<Vec<u8>>,
    ) -> Result<(), Inconsistent> {
        for (tick, entry) in std::mem::take(&mut self.rows) {
            forget(&self.name, tick, &entry, sensors, deletes)?;
        }
        Ok(())
    }
}

/// Ends the use of an emitted row's sensors, and deletes its key.
fn forget(
    rig: &Name<'_>,
    tick: Timestamp,
    entry: &RowEntry,
    sensors: &mut Sensors,
    deletes: &mut Vec<Vec<u8>>,
) -> Result<(), Inconsistent> {
    let RowState::Emitted(cells) = &entry.state else {
        return Err(Inconsistent::FORGOTTEN_OPEN_ROW);
    };
    for cell in cells {
        sensors.remove_cell(cell.sensor)?;
    }
    if entry.stored {
        deletes.push(state::row_key(rig, tick));
    }
    Ok(())
}
