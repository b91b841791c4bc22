//! The limits of what devices can make grow.

use std::sync::Arc;
use std::time::Duration;

use model::dead_letter::{Reason, Rejection};
use model::{Reading, Timestamp};

use super::rows::{RowState, SensorId};
use super::{Inconsistent, Pivot};
use crate::settings::RowLimits;

impl Pivot {
    /// Checks a reading whose rig or sensor is new.
    pub(super) fn check_new(
        &self,
        reading: &Reading<'_>,
        tick: Timestamp,
        rig_id: Option<&Arc<str>>,
        sensor: Option<SensorId>,
    ) -> Result<Result<(), Rejection>, Inconsistent> {
        let limits = &self.settings.limits;
        let idle = self.settings.rig_idle;
        if rig_id.is_none() && self.rigs.len() >= limits.max_series {
            return Ok(Err(limits.too_many_series(&reading.rig_id, idle)));
        }
        if sensor.is_some() {
            return Ok(Ok(()));
        }
        // A row that is full must not use up numbers of sensors.
        if let Some(rig_id) = rig_id
            && self.width(rig_id, tick)? >= limits.max_row_fields
        {
            return Ok(Err(limits.row_too_wide(rig_id, tick)));
        }
        if self.sensors.len() >= limits.max_fields {
            return Ok(Err(limits.too_many_fields(&reading.sensor, idle)));
        }
        Ok(Ok(()))
    }

    /// The number of cells that a rig's row has.
    fn width(&self, rig_id: &Arc<str>, tick: Timestamp) -> Result<usize, Inconsistent> {
        let rig = self.rigs.get(rig_id).ok_or(Inconsistent::NO_RIG)?;
        match rig.rows.get(&tick).map(|entry| &entry.state) {
            None => Ok(0),
            Some(RowState::Emitted(cells)) => Ok(cells.len()),
            Some(RowState::Open(order)) => {
                let row = self.open.get(*order).ok_or(Inconsistent::NO_OPEN_ROW)?;
                Ok(row.cells.len())
            }
        }
    }
}

impl RowLimits {
    fn too_many_series(self, rig: &str, idle: Duration) -> Rejection {
        let detail = format!(
            "{rig} is a new rig, and {} have sent readings within {idle:?} (MAX_SERIES)",
            self.max_series
        );
        Rejection::new(Reason::TooManySeries, detail)
    }

    fn too_many_fields(self, sensor: &str, idle: Duration) -> Rejection {
        let detail = format!(
            "{sensor} is a new sensor, and {} have sent readings within {idle:?} (MAX_FIELDS)",
            self.max_fields
        );
        Rejection::new(Reason::TooManyFields, detail)
    }

    pub(super) fn row_too_wide(self, rig: &str, tick: Timestamp) -> Rejection {
        let detail = format!(
            "the row of {rig} at {tick} has {} sensors already (MAX_ROW_FIELDS)",
            self.max_row_fields
        );
        Rejection::new(Reason::RowTooWide, detail)
    }
}
