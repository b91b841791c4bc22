//! The limits of what devices can make grow.

use std::sync::Arc;

use model::Timestamp;
use model::dead_letter::Rejection;
use model::element::RawSample;

use super::rows::{FieldId, RowState};
use super::{Inconsistent, Pivot};

impl Pivot {
    /// Checks a sample against the limits of what devices can make grow.
    pub(super) fn check(
        &self,
        sample: &RawSample<'_>,
        tick: Timestamp,
        known: Option<&Arc<str>>,
        ids: &[Option<FieldId>],
    ) -> Result<Result<(), Rejection>, Inconsistent> {
        let limits = &self.settings.limits;
        let idle = self.settings.rig_idle;
        if known.is_none() && self.series.len() >= limits.max_series {
            return Ok(Err(limits.too_many_series(&sample.series, idle)));
        }
        // Before the fields: a row that is full must not use up numbers of fields.
        if self.is_too_wide(known, tick, ids)? {
            return Ok(Err(limits.row_too_wide(&sample.series, tick)));
        }
        let new = ids.iter().filter(|id| id.is_none()).count();
        if new > 0 && self.fields.len() + new > limits.max_fields {
            let mut named = std::iter::zip(&sample.values, ids);
            let first = named.find(|(_, id)| id.is_none());
            let name = first.map_or("", |((name, _), _)| name.as_str());
            return Ok(Err(limits.too_many_fields(name, idle)));
        }
        Ok(Ok(()))
    }

    /// Whether a sample of these fields has more cells than its row has room for.
    fn is_too_wide(
        &self,
        key: Option<&Arc<str>>,
        tick: Timestamp,
        ids: &[Option<FieldId>],
    ) -> Result<bool, Inconsistent> {
        let limit = self.settings.limits.max_row_fields;
        let Some(key) = key else {
            return Ok(ids.len() > limit);
        };
        let series = self.series.get(key).ok_or(Inconsistent::NO_SERIES)?;
        let is_late = tick < series.newest.minus(self.settings.late_window);
        let entry = series.rows.get(&tick).filter(|_| !is_late);
        let is_beyond = |width: usize, has: &dyn Fn(FieldId) -> bool| {
            let is_new = |id: &&Option<FieldId>| id.is_none_or(|id| !has(id));
            width + ids.len() > limit && width + ids.iter().filter(is_new).count() > limit
        };
        match entry.map(|entry| &entry.state) {
            None => Ok(ids.len() > limit),
            Some(RowState::Emitted(cells)) => {
                let has = |id| cells.iter().any(|cell| cell.field == id);
                Ok(is_beyond(cells.len(), &has))
            }
            Some(RowState::Open(order)) => {
                let row = self.open.get(*order).ok_or(Inconsistent::NO_OPEN_ROW)?;
                Ok(is_beyond(row.cells.len(), &|id| row.cell(id).is_some()))
            }
        }
    }
}
