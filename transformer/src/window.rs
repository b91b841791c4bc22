//! From readings to the statistics of windows: which window a reading belongs to, and when a window's
//! row is emitted.
//!
//! Windows follow one another without gaps, aligned to 1970-01-01T00:00:00Z. The row of a window has the
//! time of its start and is emitted
//!
//! - when it is due, after a peek that reached the list's end: the latest, over its readings, of the time
//!   from its arrival for as long as from the reading's time to the window's end, and the grace period. So
//!   a device that is late by a constant time, or whose clock is wrong, is waited for as long as it needs;
//! - again, with all readings, a grace period after the first of further readings has arrived;
//! - at once, and for good, when it is let go: when it ends more than the late window before the newest
//!   time of its series. A later reading of it is refused as too late.
//!
//! A series of which for its idle time no reading arrived and no row was emitted loses its windows: they
//! are let go, too, and with them all that end before the last of them does. Up to where the windows of a
//! silent series were let go is remembered for the greatest age of a reading, as the readings' arrival
//! tells it, and of at most as many silent series as there may be series; those of the earliest time are
//! forgotten first.
//!
//! Pure logic, as that of all shapes (see `shape.rs`).

mod emitter;
mod fields;
mod held;
mod judge;
mod load;
mod readings;
mod series;
mod state;
mod statistics;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use model::dead_letter::Rejection;
use model::element::RawSample;
use model::{Layout, Timestamp, Value};

use self::emitter::Emitter;
use self::fields::{FieldId, Fields};
use self::held::{Held, Window, WindowId};
use self::judge::Verdicts;
use self::series::SeriesTable;
pub(crate) use self::state::PREFIXES;
use crate::omitted::Examples;
use crate::settings::WindowSettings;
use crate::shape::{Changes, Inconsistent, Shape};

/// The windows of all series that can still be corrected.
#[derive(Debug)]
pub struct Windows {
    settings: WindowSettings,
    fields: Fields,
    series: SeriesTable,
    held: Held,
    emitter: Emitter,
    /// Readings that the state doesn't have yet, in the order of their arrival.
    new: Vec<NewReading>,
    /// Windows whose rows this step emitted and that are still held.
    emitted: Vec<WindowId>,
    /// Series of whose windows this step let some go, or that it forgot.
    dirty_floors: Vec<Arc<str>>,
    /// Entries of the state that can't be read, to be deleted.
    unreadable: Vec<Vec<u8>>,
    /// The latest arrival at the ingester.
    ingested: Timestamp,
    changes: Changes,
}

/// A reading that the state doesn't have yet.
#[derive(Debug)]
struct NewReading {
    window: WindowId,
    field: FieldId,
    time: Timestamp,
    value: Value,
}

impl Windows {
    fn new(settings: &WindowSettings, layout: Layout) -> Self {
        let mut settings = settings.clone();
        // A statistic that is listed twice is in the row once.
        let mut names = HashSet::new();
        settings
            .statistics
            .retain(|(name, _)| names.insert(name.clone()));
        Self {
            fields: Fields::new(&settings, layout),
            series: SeriesTable::default(),
            held: Held::default(),
            emitter: Emitter::new(&settings, layout),
            settings,
            new: Vec::new(),
            emitted: Vec::new(),
            dirty_floors: Vec::new(),
            unreadable: Vec::new(),
            ingested: series::NEVER,
            changes: Changes::default(),
        }
    }

    /// Puts the readings of a sample that was judged into its window.
    fn insert(
        &mut self,
        sample: &RawSample<'_>,
        start: Timestamp,
        now: Duration,
        verdicts: &Verdicts,
    ) -> Result<(), Inconsistent> {
        let WindowSettings {
            every,
            grace,
            series_idle,
            ..
        } = self.settings;
        // No reading moves its series into the future, where all others would be too late.
        let time = sample.timestamp.min(sample.ingest_time);
        let series = self
            .series
            .activate(&sample.series, time, now, series_idle)?;
        series.last_active = now;
        let id = *series.windows.entry(start).or_insert_with(|| {
            let window = Window::new(Arc::clone(&series.key), start, every);
            self.held.insert(window)
        });
        let window = self.held.get_mut(id)?;
        let was_open = window.is_open();
        let before = window.readings;
        for ((name, value), verdict) in std::iter::zip(&sample.values, verdicts) {
            let field = match verdict.field {
                Some(field) => field,
                None => self.fields.insert(name.clone().into_owned(), now)?,
            };
            self.fields.record_arrival(field, now)?;
            if !verdict.repeated {
                window.insert(field, sample.timestamp, value, &mut self.fields)?;
                self.new.push(NewReading {
                    window: id,
                    field,
                    time: sample.timestamp,
                    value: value.clone(),
                });
            }
        }
        let taken = window.readings - before;
        self.changes.counts.repeated += (verdicts.len() - taken) as u64;
        if taken == 0 {
            return Ok(());
        }
        self.changes.counts.open_readings += queue::ledger::delta(taken);
        window.arrived(sample.timestamp, now, grace, was_open);
        let due = window.due;
        if !was_open {
            self.held.opened(id, due);
        }
        // Also at the first reading of a series, which sets its newest time.
        if time >= series.newest {
            series.newest = time;
            let key = Arc::clone(&series.key);
            self.let_go(&key)?;
        }
        Ok(())
    }

    /// Lets go of the windows of a series that have left its late window.
    fn let_go(&mut self, key: &Arc<str>) -> Result<(), Inconsistent> {
        let series = self.series.get_mut(key)?;
        let floor = series.newest.minus(self.settings.late_window);
        series.floor = series.floor.max(floor);
        let mut any = false;
        while let Some(first) = series.windows.first_entry()
            && first.key().plus(self.settings.every) < series.floor
        {
            let window = self.held.remove(first.remove())?;
            any = true;
            drop_window(
                window,
                &mut self.emitter,
                &mut self.fields,
                &mut self.changes,
            )?;
        }
        if any {
            self.dirty_floors.push(Arc::clone(key));
        }
        Ok(())
    }

    /// Emits a window that isn't held if it is open, and forgets it.
    fn drop_window(&mut self, window: Window) -> Result<(), Inconsistent> {
        let Self {
            emitter,
            fields,
            changes,
            ..
        } = self;
        drop_window(window, emitter, fields, changes)
    }

    /// Emits the row of a window that is due.
    fn emit_due(&mut self, id: WindowId, now: Duration) -> Result<(), Inconsistent> {
        let window = self.held.get_mut(id)?;
        self.emitter.emit(window, &self.fields, &mut self.changes)?;
        let series = self.series.get_mut(&window.series)?;
        // Readings that are late for this row are waited for as long as for any.
        series.last_active = now;
        self.held.closed();
        self.emitted.push(id);
        Ok(())
    }

    fn let_go_of_idle_series(&mut self, now: Duration) -> Result<(), Inconsistent> {
        while let Some(key) = self.series.pop_timer(now) {
            // A series has one timer, and both go together.
            let series = self.series.get_mut(&key)?;
            let windows: Vec<WindowId> = series.windows.values().copied().collect();
            let mut due = series.last_active + self.settings.series_idle;
            let mut end = series.floor;
            for id in &windows {
                let window = self.held.get(*id)?;
                if window.is_open() {
                    due = due.max(window.due);
                }
                end = end.max(window.end().plus(Duration::from_nanos(1)));
            }
            if due > now {
                self.series.set_timer(due, key);
                continue;
            }
            for id in windows {
                let window = self.held.remove(id)?;
                window.forget(&mut self.fields, &mut self.changes.deletes)?;
            }
            self.series.retire(&key, end);
            self.dirty_floors.push(key);
        }
        Ok(())
    }

    /// Writes the readings that the state doesn't have yet: a chunk for each window.
    fn put_chunks(&mut self) -> Result<(), Inconsistent> {
        self.new.sort_by_key(|new| (new.window, new.field));
        for readings in self.new.chunk_by(|a, b| a.window == b.window) {
            // A window may have been let go since.
            let Some(window) = self.held.find_mut(readings[0].window) else {
                continue;
            };
            let newest = self.series.get_mut(&window.series)?.newest;
            let mut chunk = state::chunk(newest);
            for readings in readings.chunk_by(|a, b| a.field == b.field) {
                let name = self.fields.name(readings[0].field)?;
                let readings = readings.iter().map(|new| (new.time, &new.value));
                state::put_field(name, readings, &mut chunk);
            }
            let key = state::chunk_key(window, window.chunks);
            window.chunks += 1;
            self.changes.puts.push((key, chunk));
        }
        self.new.clear();
        Ok(())
    }

    fn put_marks(&mut self) {
        self.emitted.sort_unstable();
        self.emitted.dedup();
        for id in self.emitted.drain(..) {
            if let Some(window) = self.held.find_mut(id) {
                window.marked = true;
                let put = (state::mark_key(window), state::mark(window));
                self.changes.puts.push(put);
            }
        }
    }

    fn put_floors(&mut self) {
        self.dirty_floors.sort_unstable();
        self.dirty_floors.dedup();
        for key in self.dirty_floors.drain(..) {
            let entry = state::floor_key(&key);
            match self.series.stored_floor(&key) {
                Some(floor) => self.changes.puts.push((entry, state::floor(floor))),
                None => self.changes.deletes.push(entry),
            }
        }
    }

    /// Deletes the entries that can't be read, except those that this step writes again.
    fn delete_unreadable(&mut self) {
        if self.unreadable.is_empty() {
            return;
        }
        let puts: HashSet<&Vec<u8>> = self.changes.puts.iter().map(|(key, _)| key).collect();
        let unreadable = self.unreadable.drain(..);
        let deletes = unreadable.filter(|key| !puts.contains(key));
        self.changes.deletes.extend(deletes);
    }
}

impl Shape for Windows {
    fn open_rows(&self) -> usize {
        self.held.open()
    }

    fn take(
        &mut self,
        sample: &RawSample<'_>,
        now: Duration,
    ) -> Result<Result<(), Rejection>, Inconsistent> {
        let start = sample.timestamp.tick(self.settings.every);
        let mut names = sample.values.iter();
        if names.any(|(name, _)| self.fields.id(name).is_none()) {
            self.fields.release_idle(now, self.settings.series_idle);
        }
        let verdicts = match self.judge(sample, start) {
            Ok(verdicts) => verdicts,
            Err(rejection) => return Ok(Err(rejection)),
        };
        self.changes.counts.readings += verdicts.len() as u64;
        self.ingested = self.ingested.max(sample.ingest_time);
        self.insert(sample, start, now, &verdicts)?;
        Ok(Ok(()))
    }

    fn expire(&mut self, now: Duration, max_rows: usize) -> Result<bool, Inconsistent> {
        while let Some((due, id)) = self.held.next_timer() {
            if due > now {
                break;
            }
            if self.changes.rows.len() >= max_rows {
                return Ok(false);
            }
            self.held.pop_timer();
            // The timer of a window that was let go stays behind.
            let Some(due) = self.held.find(id).map(|window| window.due) else {
                continue;
            };
            if due > now {
                self.held.set_timer(due, id);
            } else {
                self.emit_due(id, now)?;
            }
        }
        self.let_go_of_idle_series(now)?;
        let forgotten = self.series.forget_remembered(
            self.ingested,
            self.settings.max_age,
            self.settings.limits.max_series,
        );
        self.dirty_floors.extend(forgotten);
        Ok(true)
    }

    fn drain(&mut self) -> Result<(), Inconsistent> {
        for window in self.held.take_all() {
            self.drop_window(window)?;
        }
        self.dirty_floors.extend(self.series.take_all());
        self.fields.forget_all();
        Ok(())
    }

    fn finish(&mut self) -> Result<Changes, Inconsistent> {
        self.put_chunks()?;
        self.put_marks();
        self.put_floors();
        self.delete_unreadable();
        Ok(std::mem::take(&mut self.changes))
    }

    /// A window takes all of its readings, so there are none.
    fn take_examples(&mut self) -> Examples {
        Examples::default()
    }
}

impl Inconsistent {
    const NO_WINDOW: Self = Self("a window of a series is not in the table of windows");
    const NO_WINDOW_OF_FIELD: Self = Self("a field has fewer windows than hold it");
}

/// Emits a window if it is open, and forgets it.
fn drop_window(
    mut window: Window,
    emitter: &mut Emitter,
    fields: &mut Fields,
    changes: &mut Changes,
) -> Result<(), Inconsistent> {
    if window.is_open() {
        emitter.emit(&mut window, fields, changes)?;
    }
    window.forget(fields, &mut changes.deletes)
}
