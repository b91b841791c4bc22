//! Makes the rows of windows.

use std::sync::Arc;

use model::pipeline::Statistic;
use model::{Layout, Value};

use super::Inconsistent;
use super::fields::Fields;
use super::held::Window;
use super::statistics::Summary;
use crate::settings::WindowSettings;
use crate::shape::Changes;

/// Makes rows; holds memory that is used again.
#[derive(Debug)]
pub(super) struct Emitter {
    layout: Layout,
    statistics: Vec<Statistic>,
    with_median: bool,
    numbers: Vec<f64>,
}

impl Emitter {
    pub(super) fn new(settings: &WindowSettings, layout: Layout) -> Self {
        let statistics = settings.statistics.iter();
        let statistics: Vec<Statistic> = statistics.map(|(_, statistic)| *statistic).collect();
        Self {
            layout,
            with_median: statistics.contains(&Statistic::Median),
            statistics,
            numbers: Vec::new(),
        }
    }

    /// Emits the row of a window, which has all of its readings then. Without any statistic there is no
    /// row, as of strings whose mean is asked for; the readings count all the same.
    pub(super) fn emit(
        &mut self,
        window: &mut Window,
        fields: &Fields,
        changes: &mut Changes,
    ) -> Result<(), Inconsistent> {
        let row = self.row(window, fields)?;
        let counts = &mut changes.counts;
        let new = window.readings - window.in_rows;
        counts.in_rows += new as u64;
        counts.open_readings -= queue::ledger::delta(new);
        let is_corrected = window.is_emitted();
        window.in_rows = window.readings;
        if row.is_empty() {
            return Ok(());
        }
        counts.corrected += u64::from(is_corrected);
        counts.windows += u64::from(!is_corrected);
        let mut element = Vec::with_capacity(64 + window.series.len() + 32 * row.len());
        let row = row.iter().map(|(name, value)| (&**name, value));
        self.layout
            .encode_row_of(&window.series, window.start, row, &mut element);
        changes.rows.push(element);
        Ok(())
    }

    fn row(
        &mut self,
        window: &mut Window,
        fields: &Fields,
    ) -> Result<Vec<(Arc<str>, Value)>, Inconsistent> {
        let mut row = Vec::with_capacity(window.width() * self.statistics.len());
        for (field, readings) in window.fields_mut() {
            let summary = Summary::of(readings, self.with_median, &mut self.numbers);
            let names = fields.statistics(field)?;
            for (name, statistic) in names.iter().zip(&self.statistics) {
                let value = summary.value(*statistic);
                row.extend(name.clone().zip(value));
            }
        }
        Ok(row)
    }
}
