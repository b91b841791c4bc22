//! Shapes: the rules that make rows of samples.
//!
//! Pure logic, without I/O and without a clock. Time is an argument: the time since the lease was taken.
//! State is loaded from the entries that earlier commits wrote, and every step ends with the [`Changes`]
//! that the next commit writes.

use std::ops::AddAssign;
use std::time::Duration;

use model::Layout;
use model::dead_letter::Rejection;
use model::element::RawSample;
use queue::State;

use crate::omitted::Examples;
use crate::pivot::Pivot;
use crate::sample_rows::SampleRows;
use crate::settings::ShapeSettings;
use crate::switch::{Sorted, Switched};
use crate::window::Windows;

/// What one step decided, to be committed at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Elements for the normalized list.
    pub rows: Vec<Vec<u8>>,
    /// State to write.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// State to delete.
    pub deletes: Vec<Vec<u8>>,
    /// What was counted.
    pub counts: Counts,
}

/// Counts of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Readings of the samples that were taken.
    pub readings: u64,
    /// Readings of a cell taken before, equal in time and value.
    pub repeated: u64,
    /// Readings of a cell taken before, different in time or value.
    pub superseded: u64,
    /// Readings behind their series' window.
    pub late: u64,
    /// Rows with such readings.
    pub late_rows: u64,
    /// Readings in rows that were emitted.
    pub in_rows: u64,
    /// Change in the number of readings that wait in open rows.
    pub open_readings: i64,
    /// Rows emitted with all expected fields.
    pub complete: u64,
    /// Rows emitted because they had waited long enough.
    pub partial: u64,
    /// Rows emitted because too many were open.
    pub forced: u64,
    /// Rows with a field for a row that had been emitted without it.
    pub second: u64,
    /// Rows of windows, the first of each.
    pub windows: u64,
    /// Rows of windows that were emitted again, with late readings.
    pub corrected: u64,
    /// Rows of single samples.
    pub samples: u64,
}

impl Changes {
    /// Appends what a later step decided; both are committed at once.
    pub(crate) fn append(&mut self, later: Self) {
        self.rows.extend(later.rows);
        self.puts.extend(later.puts);
        self.deletes.extend(later.deletes);
        self.counts += later.counts;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            readings,
            repeated,
            superseded,
            late,
            late_rows,
            in_rows,
            open_readings,
            complete,
            partial,
            forced,
            second,
            windows,
            corrected,
            samples,
        } = other;
        self.readings += readings;
        self.repeated += repeated;
        self.superseded += superseded;
        self.late += late;
        self.late_rows += late_rows;
        self.in_rows += in_rows;
        self.open_readings += open_readings;
        self.complete += complete;
        self.partial += partial;
        self.forced += forced;
        self.second += second;
        self.windows += windows;
        self.corrected += corrected;
        self.samples += samples;
    }
}

/// The tables of a shape contradict each other. This is a defect: nothing of the step may be committed,
/// and what is in memory can't be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the transformer's memory is inconsistent: {0}")]
pub struct Inconsistent(pub(crate) &'static str);

impl Inconsistent {
    pub(crate) const NO_SERIES: Self = Self("a series that has rows is not in the table of series");
    pub(crate) const NO_FIELD: Self = Self("a field's number has no name");
    pub(crate) const TOO_MANY_FIELDS: Self = Self("there are more than four billion fields");
}

/// A rule that makes rows of samples.
pub trait Shape: Send {
    /// Takes a sample that arrived `now`, or returns why it is refused; then nothing of it is taken.
    fn take(
        &mut self,
        sample: &RawSample<'_>,
        now: Duration,
    ) -> Result<Result<(), Rejection>, Inconsistent>;

    /// Emits what has waited long enough and forgets idle series. Call it only after a peek that reached
    /// the list's end, so that a backlog never cuts a row in half. Emits at most about `max_rows`; returns
    /// false if there are more.
    fn expire(&mut self, now: Duration, max_rows: usize) -> Result<bool, Inconsistent>;

    /// Emits everything that is open and forgets all: another shape takes over.
    fn drain(&mut self) -> Result<(), Inconsistent>;

    /// What was decided since the last call, to be committed.
    fn finish(&mut self) -> Result<Changes, Inconsistent>;

    /// Rows that wait for more readings.
    fn open_rows(&self) -> usize;

    /// Examples of omitted and late readings since the last call.
    fn take_examples(&mut self) -> Examples;
}

/// Restores a shape from the state that earlier commits wrote. Entries that can't be read are logged and
/// deleted. What another shape has left open is emitted by the first step.
pub fn load(
    settings: &ShapeSettings,
    layout: Layout,
    entries: State,
) -> Result<Box<dyn Shape>, Inconsistent> {
    let mut sorted = Sorted::new(settings, entries);
    let own = std::mem::take(&mut sorted.own);
    let shape: Box<dyn Shape> = match settings {
        ShapeSettings::Pivot(rows) => Box::new(Pivot::load(rows, layout, own)?),
        ShapeSettings::Window(windows) => Box::new(Windows::load(windows, layout, own)?),
        ShapeSettings::Sample(samples) => Box::new(SampleRows::load(samples, layout, own)),
    };
    Ok(match sorted.drain(layout)? {
        None => shape,
        first => Box::new(Switched { first, shape }),
    })
}
