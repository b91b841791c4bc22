//! Another shape than before: what the earlier one left open is emitted, and nothing is lost.

use std::time::Duration;

use model::Layout;
use model::dead_letter::Rejection;
use model::element::RawSample;
use model::pipeline::Statistic;
use queue::State;

use crate::omitted::Examples;
use crate::pivot::{self, Pivot};
use crate::settings::{RowLimits, RowSettings, ShapeSettings, WindowSettings};
use crate::shape::{Changes, Inconsistent, Shape};
use crate::window::{self, Windows};

/// The entries of a state by the shape that wrote them.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// Those of the present shape, and those that no shape has written.
    pub(crate) own: State,
    pivot: State,
    window: State,
}

impl Sorted {
    pub(crate) fn new(settings: &ShapeSettings, entries: State) -> Self {
        let mut sorted = Self::default();
        for entry in entries {
            let prefix = entry.0.first();
            let is_of = |prefixes: &[u8]| prefix.is_some_and(|prefix| prefixes.contains(prefix));
            let entries = match settings {
                ShapeSettings::Window(_) | ShapeSettings::Sample(_) if is_of(&pivot::PREFIXES) => {
                    &mut sorted.pivot
                }
                ShapeSettings::Pivot(_) | ShapeSettings::Sample(_) if is_of(&window::PREFIXES) => {
                    &mut sorted.window
                }
                _ => &mut sorted.own,
            };
            entries.push(entry);
        }
        sorted
    }

    /// Everything that other shapes have left: rows, and the deletion of their state. None if there is
    /// nothing.
    pub(crate) fn drain(self, layout: Layout) -> Result<Option<Changes>, Inconsistent> {
        let mut changes = None;
        if !self.pivot.is_empty() {
            let shape = Pivot::load(&pivot_settings(), layout, self.pivot)?;
            drain("pivot", shape, &mut changes)?;
        }
        if !self.window.is_empty() {
            let (shape, _) = Windows::restore(&window_settings(), layout, self.window)?;
            drain("window", shape, &mut changes)?;
        }
        Ok(changes)
    }
}

fn drain(
    name: &str,
    mut shape: impl Shape,
    changes: &mut Option<Changes>,
) -> Result<(), Inconsistent> {
    shape.drain()?;
    let drained = shape.finish()?;
    tracing::warn!(
        shape = name,
        rows = drained.rows.len(),
        "the pipeline has another shape than before; the first commit emits what the earlier one left open"
    );
    match changes {
        Some(changes) => changes.append(drained),
        None => *changes = Some(drained),
    }
    Ok(())
}

/// A shape whose first step starts with what another one has left.
pub(crate) struct Switched {
    pub(crate) first: Option<Changes>,
    pub(crate) shape: Box<dyn Shape>,
}

impl Shape for Switched {
    fn take(
        &mut self,
        sample: &RawSample<'_>,
        now: Duration,
    ) -> Result<Result<(), Rejection>, Inconsistent> {
        self.shape.take(sample, now)
    }

    fn expire(&mut self, now: Duration, max_rows: usize) -> Result<bool, Inconsistent> {
        self.shape.expire(now, max_rows)
    }

    fn drain(&mut self) -> Result<(), Inconsistent> {
        self.shape.drain()
    }

    fn finish(&mut self) -> Result<Changes, Inconsistent> {
        let next = self.shape.finish()?;
        match self.first.take() {
            None => Ok(next),
            Some(mut changes) => {
                changes.append(next);
                Ok(changes)
            }
        }
    }

    fn open_rows(&self) -> usize {
        self.shape.open_rows()
    }

    fn take_examples(&mut self) -> Examples {
        self.shape.take_examples()
    }
}

const NO_LIMITS: RowLimits = RowLimits {
    max_series: usize::MAX,
    max_fields: usize::MAX,
    max_row_fields: usize::MAX,
};

/// Settings of a pivot that only emits what its state holds.
const fn pivot_settings() -> RowSettings {
    RowSettings {
        align: Duration::ZERO,
        flush_interval: Duration::ZERO,
        late_window: Duration::MAX,
        rig_idle: Duration::ZERO,
        expected_sensors: Vec::new(),
        max_open_rows: usize::MAX,
        limits: NO_LIMITS,
    }
}

/// Settings of windows that are only emitted. Which statistics they were to have isn't known any more, so
/// they have the default ones; each has its own length.
fn window_settings() -> WindowSettings {
    WindowSettings {
        every: Duration::ZERO,
        statistics: Statistic::USUAL
            .map(|statistic| (statistic.name().to_owned(), statistic))
            .into(),
        names: "{field}_{statistic}".to_owned(),
        grace: Duration::ZERO,
        late_window: Duration::MAX,
        max_age: Duration::MAX,
        series_idle: Duration::ZERO,
        dedupe: false,
        max_window_readings: usize::MAX,
        limits: NO_LIMITS,
    }
}

#[cfg(test)]
mod tests;
