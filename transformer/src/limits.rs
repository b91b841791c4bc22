//! What is said of samples beyond the limits of what devices can make grow.

use std::time::Duration;

use model::Timestamp;
use model::dead_letter::{Reason, Rejection};

use crate::settings::RowLimits;

impl RowLimits {
    pub(crate) fn too_many_series(self, series: &str, idle: Duration) -> Rejection {
        let detail = format!(
            "{series} is a new series, and {} have sent readings within {idle:?} (MAX_SERIES)",
            self.max_series
        );
        Rejection::new(Reason::TooManySeries, detail)
    }

    pub(crate) fn too_many_fields(self, field: &str, idle: Duration) -> Rejection {
        let detail = format!(
            "{field} is a new field, and {} have sent readings within {idle:?} (MAX_FIELDS)",
            self.max_fields
        );
        Rejection::new(Reason::TooManyFields, detail)
    }

    pub(crate) fn row_too_wide(self, series: &str, time: Timestamp) -> Rejection {
        row_too_wide(self.max_row_fields, series, time)
    }
}

pub(crate) fn row_too_wide(max_row_fields: usize, series: &str, time: Timestamp) -> Rejection {
    let detail = format!(
        "the row of {series} at {time} has {max_row_fields} fields already (MAX_ROW_FIELDS)"
    );
    Rejection::new(Reason::RowTooWide, detail)
}
