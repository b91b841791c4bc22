//! From readings to rows: which reading a row takes, and when the row is emitted.
//!
//! Pure logic, without I/O and without a clock. Time is an argument: the time since the lease was
//! taken. State is loaded from the entries that earlier commits wrote, and every step ends with the
//! [`Changes`] that the next commit writes.

mod fields;
mod limits;
mod rows;
mod series;
mod state;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use model::dead_letter::Rejection;
use model::element::RawSample;
use model::{Layout, Timestamp};
use queue::State;
use smallvec::SmallVec;

use self::fields::Fields;
use self::rows::{Cell, EmittedCell, FieldId, OpenRow, OpenRows, RowEntry, RowState};
use self::series::Series;
pub(crate) use self::state::PREFIXES;
use crate::omitted::{Examples, LateExample};
use crate::settings::RowSettings;
use crate::shape::{Changes, Inconsistent, Shape};

/// The cells of a sample, mostly one.
type Cells = SmallVec<[Cell; 1]>;
/// The numbers of a sample's fields; none for a new one.
type Ids = SmallVec<[Option<FieldId>; 1]>;

/// Why an open row is emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Complete,
    Partial,
    Forced,
}

/// Open rows and the memory of emitted cells, for all series.
#[derive(Debug)]
pub struct Pivot {
    settings: RowSettings,
    layout: Layout,
    fields: Fields,
    series: HashMap<Arc<str>, Series>,
    open: OpenRows,
    /// When to check whether a series is idle. The series' last arrival decides, so an entry may be early.
    series_timers: BinaryHeap<Reverse<(Duration, Arc<str>)>>,
    /// Rows whose state has to be written, each once.
    dirty: Vec<(Arc<str>, Timestamp)>,
    changes: Changes,
    /// Examples for the log, until [`Pivot::take_examples`].
    examples: Examples,
}

impl Pivot {
    /// Restores the state that earlier commits wrote. Entries that can't be read are logged and
    /// deleted. Timers start from zero.
    pub fn load(
        settings: &RowSettings,
        layout: Layout,
        entries: State,
    ) -> Result<Self, Inconsistent> {
        let mut changes = Changes::default();
        let loaded = state::decode(layout, entries, &mut changes.deletes);
        let (fields, unused) = Fields::load(
            &settings.expected_sensors,
            loaded.fields,
            &loaded.rows,
            settings.rig_idle,
        )?;
        let unused = unused.into_iter().map(state::field_key);
        changes.deletes.extend(unused);
        let mut pivot = Self {
            settings: settings.clone(),
            layout,
            fields,
            series: HashMap::new(),
            open: OpenRows::default(),
            series_timers: BinaryHeap::new(),
            dirty: Vec::new(),
            changes,
            examples: Examples::default(),
        };
        for row in loaded.rows {
            pivot.restore(row)?;
        }
        Ok(pivot)
    }

    /// Emits a row of a sample that is behind its series' window.
    fn take_late(
        &mut self,
        key: &Arc<str>,
        tick: Timestamp,
        newest: Timestamp,
        sample: &RawSample<'_>,
        cells: &[Cell],
    ) -> Result<(), Inconsistent> {
        self.changes.counts.late += cells.len() as u64;
        self.changes.counts.late_rows += 1;
        if self.examples.late.is_none()
            && let Some((field, _)) = sample.values.first()
        {
            self.examples.late = Some(LateExample {
                series: key.as_ref().into(),
                field: field.to_string(),
                time: sample.timestamp,
                newest,
            });
        }
        self.emit(key, tick, cells)
    }

    /// The key of a series that is known.
    fn known_key(&self, key: &str) -> Option<Arc<str>> {
        let known = self.series.get_key_value(key);
        known.map(|(key, _)| Arc::clone(key))
    }

    /// Adds a series; its window starts with `newest`. Returns its key.
    fn insert_series(&mut self, key: &str, newest: Timestamp, now: Duration) -> Arc<str> {
        let key: Arc<str> = Arc::from(key);
        let series = Series::new(Arc::clone(&key), newest, now);
        self.series.insert(Arc::clone(&key), series);
        let due = now + self.settings.rig_idle;
        self.series_timers.push(Reverse((due, Arc::clone(&key))));
        key
    }

    /// Inserts cells into their row, except those that it has already.
    fn insert_cells(
        &mut self,
        key: &Arc<str>,
        tick: Timestamp,
        cells: Cells,
        now: Duration,
    ) -> Result<(), Inconsistent> {
        let series = series_mut(&mut self.series, key)?;
        let counts = &mut self.changes.counts;
        let entry = match series.rows.entry(tick) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let row = OpenRow::new(key, tick, self.fields.expected(), now);
                let order = self.open.insert(row, now + self.settings.flush_interval);
                entry.insert(RowEntry::new(RowState::Open(order)))
            }
        };
        let mut taken: Cells = SmallVec::new();
        for cell in cells {
            let first = match &entry.state {
                RowState::Open(order) => {
                    let row = self.open.get(*order).ok_or(Inconsistent::NO_OPEN_ROW)?;
                    let first = row.cell(cell.field);
                    first.map(|first| (*first == cell, Some(first.time)))
                }
                RowState::Emitted(cells) => {
                    let first = cells.iter().find(|emitted| emitted.field == cell.field);
                    first.map(|emitted| (*emitted == EmittedCell::of(&cell), None))
                }
            };
            let Some((is_equal, first_time)) = first else {
                self.fields.add_cell(cell.field)?;
                taken.push(cell);
                continue;
            };
            counts.repeated += u64::from(is_equal);
            counts.superseded += u64::from(!is_equal);
            if !is_equal {
                let field = self.fields.name(cell.field)?;
                self.examples
                    .superseded(key, field, tick, first_time, cell.time);
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        entry.mark_dirty(key, tick, &mut self.dirty);
        match &mut entry.state {
            RowState::Open(order) => {
                let order = *order;
                let row = self.open.get_mut(order).ok_or(Inconsistent::NO_OPEN_ROW)?;
                counts.open_readings += queue::ledger::delta(taken.len());
                for cell in taken {
                    let is_expected = self.fields.is_expected(cell.field);
                    row.push(cell, is_expected);
                }
                row.last_arrival = now;
                // Without expected fields no row is known to be complete.
                if row.missing == 0 && self.fields.expected() > 0 {
                    self.close(order, Trigger::Complete)
                } else {
                    self.enforce_open_row_limit()
                }
            }
            RowState::Emitted(cells) => {
                cells.extend(taken.iter().map(EmittedCell::of));
                counts.second += 1;
                self.emit(key, tick, &taken)
            }
        }
    }

    fn enforce_open_row_limit(&mut self) -> Result<(), Inconsistent> {
        while self.open.len() > self.settings.max_open_rows
            && let Some(oldest) = self.open.oldest()
        {
            self.close(oldest, Trigger::Forced)?;
        }
        Ok(())
    }

    /// Emits an open row and keeps the fingerprints of its cells, if its tick is still in the window.
    fn close(&mut self, order: u64, trigger: Trigger) -> Result<(), Inconsistent> {
        let OpenRow {
            key,
            tick,
            mut cells,
            ..
        } = self.open.remove(order).ok_or(Inconsistent::NO_OPEN_ROW)?;
        let series = series_mut(&mut self.series, &key)?;
        let entry = series.rows.get_mut(&tick).ok_or(Inconsistent::NO_ENTRY)?;
        entry.state = RowState::Emitted(cells.iter().map(EmittedCell::of).collect());
        entry.mark_dirty(&key, tick, &mut self.dirty);
        // The series' newest tick may have moved on while the row was open.
        series.forget_behind_window(
            self.settings.late_window,
            &mut self.fields,
            &mut self.changes.deletes,
        )?;
        let counts = &mut self.changes.counts;
        match trigger {
            Trigger::Complete => counts.complete += 1,
            Trigger::Partial => counts.partial += 1,
            Trigger::Forced => counts.forced += 1,
        }
        counts.open_readings -= queue::ledger::delta(cells.len());
        cells.sort_unstable_by_key(|cell| cell.field);
        self.emit(&key, tick, &cells)
    }

    fn emit(&mut self, key: &str, tick: Timestamp, cells: &[Cell]) -> Result<(), Inconsistent> {
        let layout = self.layout;
        let row = self.fields.encode_row(layout, key, tick, cells)?;
        self.changes.counts.in_rows += cells.len() as u64;
        self.changes.rows.push(row);
        Ok(())
    }

    fn forget_idle_series(&mut self, now: Duration) -> Result<(), Inconsistent> {
        let is_due = |Reverse((due, _)): &Reverse<(Duration, Arc<str>)>| *due <= now;
        while self.series_timers.peek().is_some_and(is_due)
            && let Some(Reverse((_, key))) = self.series_timers.pop()
        {
            // A series has one timer, and both go together.
            let Some(series) = self.series.get_mut(&key) else {
                continue;
            };
            let due = series.last_arrival + self.settings.rig_idle;
            if due > now || series.has_open_rows() {
                let again = due.max(now + self.settings.flush_interval);
                self.series_timers.push(Reverse((again, key)));
                continue;
            }
            series.forget_all(&mut self.fields, &mut self.changes.deletes)?;
            self.series.remove(&key);
        }
        Ok(())
    }

    /// Restores a row that an earlier commit wrote.
    fn restore(&mut self, row: state::StoredRow) -> Result<(), Inconsistent> {
        let fields = row.fields();
        let state::StoredRow {
            series,
            tick,
            cells,
        } = row;
        let known = self.known_key(&series);
        let key = known.unwrap_or_else(|| self.insert_series(&series, tick, Duration::ZERO));
        for field in fields {
            self.fields.add_cell(field)?;
        }
        let state = match cells {
            state::StoredCells::Emitted(cells) => RowState::Emitted(cells),
            state::StoredCells::Open(cells) => {
                let expected = self.fields.expected();
                let mut row = OpenRow::new(&key, tick, expected, Duration::ZERO);
                for cell in cells {
                    let is_expected = self.fields.is_expected(cell.field);
                    row.push(cell, is_expected);
                }
                RowState::Open(self.open.insert(row, self.settings.flush_interval))
            }
        };
        let series = series_mut(&mut self.series, &key)?;
        series.newest = series.newest.max(tick);
        let mut entry = RowEntry::new(state);
        entry.stored = true;
        series.rows.insert(tick, entry);
        Ok(())
    }
}

impl Shape for Pivot {
    fn open_rows(&self) -> usize {
        self.open.len()
    }

    fn take(
        &mut self,
        sample: &RawSample<'_>,
        now: Duration,
    ) -> Result<Result<(), Rejection>, Inconsistent> {
        let tick = sample.timestamp.tick(self.settings.align);
        let known = self.known_key(&sample.series);
        let names = sample.values.iter().map(|(name, _)| name);
        let ids: Ids = names.map(|name| self.fields.id(name)).collect();
        if let Err(rejection) = self.check(sample, tick, known.as_ref(), &ids)? {
            return Ok(Err(rejection));
        }
        let mut cells = SmallVec::new();
        for ((name, value), id) in std::iter::zip(&sample.values, ids) {
            let idle = self.settings.rig_idle;
            let field = match id {
                Some(id) => id,
                None => self.fields.insert(name.clone().into_owned(), now, idle)?,
            };
            self.fields
                .record_arrival(field, now, &mut self.changes.puts)?;
            cells.push(Cell {
                field,
                time: sample.timestamp,
                value: value.clone(),
            });
        }
        self.changes.counts.readings += cells.len() as u64;
        let key = known.unwrap_or_else(|| self.insert_series(&sample.series, tick, now));
        let series = series_mut(&mut self.series, &key)?;
        series.last_arrival = now;
        if tick < series.newest.minus(self.settings.late_window) {
            let newest = series.newest;
            self.take_late(&key, tick, newest, sample, &cells)?;
            return Ok(Ok(()));
        }
        if tick > series.newest {
            series.newest = tick;
            series.forget_behind_window(
                self.settings.late_window,
                &mut self.fields,
                &mut self.changes.deletes,
            )?;
        }
        self.insert_cells(&key, tick, cells, now)?;
        Ok(Ok(()))
    }

    fn expire(&mut self, now: Duration, max_rows: usize) -> Result<bool, Inconsistent> {
        while let Some((due, order)) = self.open.next_timer() {
            if due > now {
                break;
            }
            if self.changes.rows.len() >= max_rows {
                return Ok(false);
            }
            self.open.pop_timer();
            // The timer of a row that was emitted meanwhile stays behind.
            let Some(last_arrival) = self.open.get(order).map(|row| row.last_arrival) else {
                continue;
            };
            let due = last_arrival + self.settings.flush_interval;
            if due > now {
                self.open.set_timer(due, order);
            } else {
                self.close(order, Trigger::Partial)?;
            }
        }
        self.forget_idle_series(now)?;
        let idle = self.settings.rig_idle;
        self.fields
            .release_idle(now, idle, &mut self.changes.deletes)?;
        Ok(true)
    }

    fn finish(&mut self) -> Result<Changes, Inconsistent> {
        for (key, tick) in std::mem::take(&mut self.dirty) {
            // A row may have been forgotten since it was marked.
            let Some(series) = self.series.get_mut(&key) else {
                continue;
            };
            let Some(entry) = series.rows.get_mut(&tick) else {
                continue;
            };
            let value = match &entry.state {
                RowState::Open(order) => {
                    let row = self.open.get(*order).ok_or(Inconsistent::NO_OPEN_ROW)?;
                    state::encode_open(&row.cells)
                }
                RowState::Emitted(cells) => state::encode_emitted(cells),
            };
            entry.dirty = false;
            entry.stored = true;
            self.changes.puts.push((state::row_key(&key, tick), value));
        }
        self.fields.finish();
        Ok(std::mem::take(&mut self.changes))
    }

    fn take_examples(&mut self) -> Examples {
        std::mem::take(&mut self.examples)
    }

    fn drain(&mut self) -> Result<(), Inconsistent> {
        while let Some(oldest) = self.open.oldest() {
            self.close(oldest, Trigger::Partial)?;
        }
        for series in self.series.values_mut() {
            series.forget_all(&mut self.fields, &mut self.changes.deletes)?;
        }
        self.series.clear();
        self.fields.forget_all(&mut self.changes.deletes);
        Ok(())
    }
}

impl Inconsistent {
    const NO_ENTRY: Self = Self("an open row is not among its series' rows");
    const NO_OPEN_ROW: Self = Self("a row that is marked open is not in the table of open rows");
    const FORGOTTEN_OPEN_ROW: Self = Self("an open row was about to be forgotten");
    const NO_CELL: Self = Self("a field has fewer cells than its rows");
}

fn series_mut<'a>(
    series: &'a mut HashMap<Arc<str>, Series>,
    key: &str,
) -> Result<&'a mut Series, Inconsistent> {
    series.get_mut(key).ok_or(Inconsistent::NO_SERIES)
}
