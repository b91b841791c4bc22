//! From readings to rows: which reading a row takes, and when the row is emitted.
//!
//! Pure logic, without I/O and without a clock. Time is an argument: the time since the lease was
//! taken. State is loaded from the entries that earlier commits wrote, and every step ends with the
//! [`Changes`] that the next commit writes.

mod limits;
mod omitted;
mod rig;
mod rows;
mod sensors;
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
use model::{Name, Reading, Timestamp};
use queue::State;

pub use self::omitted::{Examples, LateExample, SupersededExample};
use self::rig::Rig;
use self::rows::{Cell, EmittedCell, OpenRow, OpenRows, RowEntry, RowState};
use self::sensors::Sensors;
use crate::settings::RowSettings;

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
    /// Readings of a cell taken before, equal in time and value.
    pub repeated: u64,
    /// Readings of a cell taken before, different in time or value.
    pub superseded: u64,
    /// Readings behind their rig's window.
    pub late: u64,
    /// Readings in rows that were emitted.
    pub in_rows: u64,
    /// Change in the number of readings that wait in open rows.
    pub open_readings: i64,
    /// Rows emitted with all expected sensors.
    pub complete: u64,
    /// Rows emitted because they had waited long enough.
    pub partial: u64,
    /// Rows emitted because too many were open.
    pub forced: u64,
    /// Rows with a field for a row that had been emitted without it.
    pub second: u64,
}

/// The pivot's own tables contradict each other. This is a defect: nothing of the step may be
/// committed, and what is in memory can't be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the transformer's memory is inconsistent: {0}")]
pub struct Inconsistent(&'static str);

/// Why an open row is emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Complete,
    Partial,
    Forced,
}

/// Open rows and the memory of emitted cells, for all rigs.
#[derive(Debug)]
pub struct Pivot {
    settings: RowSettings,
    sensors: Sensors,
    rigs: HashMap<Arc<str>, Rig>,
    open: OpenRows,
    /// When to check whether a rig is idle. The rig's last arrival decides, so an entry may be early.
    rig_timers: BinaryHeap<Reverse<(Duration, Arc<str>)>>,
    /// Rows whose state has to be written, each once.
    dirty: Vec<(Arc<str>, Timestamp)>,
    changes: Changes,
    /// Examples for the log, until [`Pivot::take_examples`].
    examples: Examples,
}

impl Pivot {
    /// Restores the state that earlier commits wrote. Entries that can't be read are logged and
    /// deleted. Timers start from zero.
    pub fn load(settings: &RowSettings, entries: State) -> Result<Self, Inconsistent> {
        let mut changes = Changes::default();
        let loaded = state::decode(entries, &mut changes.deletes);
        let (sensors, unused) = Sensors::load(
            &settings.expected_sensors,
            loaded.sensors,
            &loaded.rows,
            settings.rig_idle,
        )?;
        let unused = unused.into_iter().map(state::sensor_key);
        changes.deletes.extend(unused);
        let mut pivot = Self {
            settings: settings.clone(),
            sensors,
            rigs: HashMap::new(),
            open: OpenRows::default(),
            rig_timers: BinaryHeap::new(),
            dirty: Vec::new(),
            changes,
            examples: Examples::default(),
        };
        for row in loaded.rows {
            pivot.restore(row)?;
        }
        Ok(pivot)
    }

    /// Rows that wait for more readings.
    #[must_use]
    pub fn open_rows(&self) -> usize {
        self.open.len()
    }

    /// Takes one reading that arrived `now`, or returns why a limit forbids it.
    pub fn take(
        &mut self,
        reading: &Reading<'_>,
        now: Duration,
    ) -> Result<Result<(), Rejection>, Inconsistent> {
        let tick = reading.timestamp.tick(self.settings.align);
        let known_rig = self.rig_key(&reading.rig_id);
        let known_sensor = self.sensors.id(&reading.sensor);
        if (known_rig.is_none() || known_sensor.is_none())
            && let Err(rejection) =
                self.check_new(reading, tick, known_rig.as_ref(), known_sensor)?
        {
            return Ok(Err(rejection));
        }
        let sensor = match known_sensor {
            Some(id) => id,
            None => self.sensors.insert(
                reading.sensor.clone().into_owned(),
                now,
                self.settings.rig_idle,
            )?,
        };
        self.sensors
            .record_arrival(sensor, now, &mut self.changes.puts)?;
        let cell = Cell {
            sensor,
            time: reading.timestamp,
            value: reading.value,
        };
        let rig_id = known_rig.unwrap_or_else(|| self.insert_rig(&reading.rig_id, tick, now));
        let rig = rig_mut(&mut self.rigs, &rig_id)?;
        rig.last_arrival = now;
        if tick < rig.newest.minus(self.settings.late_window) {
            self.changes.counts.late += 1;
            self.examples.late.get_or_insert_with(|| LateExample {
                rig: rig_id.as_ref().into(),
                sensor: reading.sensor.to_string(),
                time: reading.timestamp,
                newest: rig.newest,
            });
            self.emit(&rig_id, tick, &[cell])?;
            return Ok(Ok(()));
        }
        if tick > rig.newest {
            rig.newest = tick;
            rig.forget_behind_window(
                self.settings.late_window,
                &mut self.sensors,
                &mut self.changes.deletes,
            )?;
        }
        self.insert_cell(&rig_id, tick, cell, now)
    }

    /// Emits rows that have waited long enough and forgets idle rigs. Call it only after a peek that
    /// reached the list's end, so that a backlog never cuts a row in half. Emits at most about
    /// `max_rows`; returns false if there are more.
    pub fn expire(&mut self, now: Duration, max_rows: usize) -> Result<bool, Inconsistent> {
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
        self.forget_idle_rigs(now)?;
        let idle = self.settings.rig_idle;
        self.sensors
            .release_idle(now, idle, &mut self.changes.deletes)?;
        Ok(true)
    }

    /// What was decided since the last call, to be committed.
    pub fn finish(&mut self) -> Result<Changes, Inconsistent> {
        for (rig_id, tick) in std::mem::take(&mut self.dirty) {
            // A row may have been forgotten since it was marked.
            let Some(rig) = self.rigs.get_mut(&rig_id) else {
                continue;
            };
            let Some(entry) = rig.rows.get_mut(&tick) else {
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
            self.changes
                .puts
                .push((state::row_key(&rig.name, tick), value));
        }
        self.sensors.finish();
        Ok(std::mem::take(&mut self.changes))
    }

    /// Examples of omitted and late readings since the last call.
    pub fn take_examples(&mut self) -> Examples {
        std::mem::take(&mut self.examples)
    }

    /// The key of a rig that is known.
    fn rig_key(&self, name: &Name<'_>) -> Option<Arc<str>> {
        let known = self.rigs.get_key_value(name.as_str());
        known.map(|(rig_id, _)| Arc::clone(rig_id))
    }

    /// Adds a rig; its window starts with `newest`. Returns its key.
    fn insert_rig(&mut self, name: &Name<'_>, newest: Timestamp, now: Duration) -> Arc<str> {
        let rig_id: Arc<str> = Arc::from(name.as_str());
        let rig = Rig::new(name.clone().into_owned(), newest, now);
        self.rigs.insert(Arc::clone(&rig_id), rig);
        let due = now + self.settings.rig_idle;
        self.rig_timers.push(Reverse((due, Arc::clone(&rig_id))));
        rig_id
    }

    /// Inserts a cell into its row, unless the row has that cell or is full.
    fn insert_cell(
        &mut self,
        rig_id: &Arc<str>,
        tick: Timestamp,
        cell: Cell,
        now: Duration,
    ) -> Result<Result<(), Rejection>, Inconsistent> {
        let rig = rig_mut(&mut self.rigs, rig_id)?;
        let counts = &mut self.changes.counts;
        let entry = match rig.rows.entry(tick) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let row = OpenRow::new(rig_id, tick, self.sensors.expected(), now);
                let order = self.open.insert(row, now + self.settings.flush_interval);
                entry.insert(RowEntry::new(RowState::Open(order)))
            }
        };
        let (first, width) = match &entry.state {
            RowState::Open(order) => {
                let row = self.open.get(*order).ok_or(Inconsistent::NO_OPEN_ROW)?;
                let first = row.cell(cell.sensor);
                (
                    first.map(|first| (*first == cell, Some(first.time))),
                    row.cells.len(),
                )
            }
            RowState::Emitted(cells) => {
                let first = cells.iter().find(|emitted| emitted.sensor == cell.sensor);
                let first = first.map(|emitted| (*emitted == EmittedCell::of(&cell), None));
                (first, cells.len())
            }
        };
        if let Some((is_equal, first_time)) = first {
            counts.repeated += u64::from(is_equal);
            counts.superseded += u64::from(!is_equal);
            if !is_equal {
                let sensor = self.sensors.name(cell.sensor)?;
                self.examples
                    .superseded(rig_id, sensor, tick, first_time, cell.time);
            }
            return Ok(Ok(()));
        }
        if width >= self.settings.limits.max_row_fields {
            return Ok(Err(self.settings.limits.row_too_wide(rig_id, tick)));
        }
        self.sensors.add_cell(cell.sensor)?;
        entry.mark_dirty(rig_id, tick, &mut self.dirty);
        match &mut entry.state {
            RowState::Open(order) => {
                let order = *order;
                let row = self.open.get_mut(order).ok_or(Inconsistent::NO_OPEN_ROW)?;
                row.push(cell, self.sensors.is_expected(cell.sensor));
                row.last_arrival = now;
                counts.open_readings += 1;
                if row.missing == 0 {
                    self.close(order, Trigger::Complete)?;
                } else {
                    self.enforce_open_row_limit()?;
                }
            }
            RowState::Emitted(cells) => {
                cells.push(EmittedCell::of(&cell));
                counts.second += 1;
                self.emit(rig_id, tick, &[cell])?;
            }
        }
        Ok(Ok(()))
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
            rig_id,
            tick,
            mut cells,
            ..
        } = self.open.remove(order).ok_or(Inconsistent::NO_OPEN_ROW)?;
        let rig = rig_mut(&mut self.rigs, &rig_id)?;
        let entry = rig.rows.get_mut(&tick).ok_or(Inconsistent::NO_ENTRY)?;
        entry.state = RowState::Emitted(cells.iter().map(EmittedCell::of).collect());
        entry.mark_dirty(&rig_id, tick, &mut self.dirty);
        // The rig's newest tick may have moved on while the row was open.
        rig.forget_behind_window(
            self.settings.late_window,
            &mut self.sensors,
            &mut self.changes.deletes,
        )?;
        let counts = &mut self.changes.counts;
        match trigger {
            Trigger::Complete => counts.complete += 1,
            Trigger::Partial => counts.partial += 1,
            Trigger::Forced => counts.forced += 1,
        }
        counts.open_readings -= queue::ledger::delta(cells.len());
        cells.sort_unstable_by_key(|cell| cell.sensor);
        self.emit(&rig_id, tick, &cells)
    }

    fn emit(&mut self, rig_id: &str, tick: Timestamp, cells: &[Cell]) -> Result<(), Inconsistent> {
        let rig = rig_mut(&mut self.rigs, rig_id)?;
        let row = self.sensors.encode_row(&rig.name, tick, cells)?;
        self.changes.counts.in_rows += cells.len() as u64;
        self.changes.rows.push(row);
        Ok(())
    }

    fn forget_idle_rigs(&mut self, now: Duration) -> Result<(), Inconsistent> {
        let is_due = |Reverse((due, _)): &Reverse<(Duration, Arc<str>)>| *due <= now;
        while self.rig_timers.peek().is_some_and(is_due)
            && let Some(Reverse((_, rig_id))) = self.rig_timers.pop()
        {
            // A rig has one timer, and both go together.
            let Some(rig) = self.rigs.get_mut(&rig_id) else {
                continue;
            };
            let due = rig.last_arrival + self.settings.rig_idle;
            if due > now || rig.has_open_rows() {
                let again = due.max(now + self.settings.flush_interval);
                self.rig_timers.push(Reverse((again, rig_id)));
                continue;
            }
            rig.forget_all(&mut self.sensors, &mut self.changes.deletes)?;
            self.rigs.remove(&rig_id);
        }
        Ok(())
    }

    /// Restores a row that an earlier commit wrote.
    fn restore(&mut self, row: state::StoredRow) -> Result<(), Inconsistent> {
        let sensors = row.sensors();
        let state::StoredRow { rig, tick, cells } = row;
        let known = self.rig_key(&rig);
        let rig_id = known.unwrap_or_else(|| self.insert_rig(&rig, tick, Duration::ZERO));
        for sensor in sensors {
            self.sensors.add_cell(sensor)?;
        }
        let state = match cells {
            state::StoredCells::Emitted(cells) => RowState::Emitted(cells),
            state::StoredCells::Open(cells) => {
                let expected = self.sensors.expected();
                let mut row = OpenRow::new(&rig_id, tick, expected, Duration::ZERO);
                for cell in cells {
                    row.push(cell, self.sensors.is_expected(cell.sensor));
                }
                RowState::Open(self.open.insert(row, self.settings.flush_interval))
            }
        };
        let rig = rig_mut(&mut self.rigs, &rig_id)?;
        rig.newest = rig.newest.max(tick);
        let mut entry = RowEntry::new(state);
        entry.stored = true;
        rig.rows.insert(tick, entry);
        Ok(())
    }
}

impl Inconsistent {
    const NO_RIG: Self = Self("a rig that has rows is not in the table of rigs");
    const NO_ENTRY: Self = Self("an open row is not among its rig's rows");
    const NO_OPEN_ROW: Self = Self("a row that is marked open is not in the table of open rows");
    const FORGOTTEN_OPEN_ROW: Self = Self("an open row was about to be forgotten");
    const NO_CELL: Self = Self("a sensor has fewer cells than its rows");
    const NO_SENSOR: Self = Self("a sensor's number has no name");
    const TOO_MANY_SENSORS: Self = Self("there are more than four billion sensors");
}

fn rig_mut<'a>(
    rigs: &'a mut HashMap<Arc<str>, Rig>,
    rig_id: &str,
) -> Result<&'a mut Rig, Inconsistent> {
    rigs.get_mut(rig_id).ok_or(Inconsistent::NO_RIG)
}
