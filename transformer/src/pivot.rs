//! From readings to rows: the rules of which reading a row takes and when it is emitted.
//!
//! Pure logic: no I/O and no clock of its own. Time comes in as the time since the lease was taken,
//! state as the entries that earlier commits left. What it decides goes out as [`Outcome`]s.

mod rows;
mod sensors;
mod state;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use common::faults::{Rule, holds};
use common::reading::Reading;
use common::time::Timestamp;
use queue::State;

use self::rows::{Cell, Emitted, Kept, OpenRow, Seat, print};
use self::sensors::Sensors;
use crate::settings::RowSettings;

/// What one step decided, to be committed as one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Elements for the normalized list.
    pub rows: Vec<Vec<u8>>,
    /// State to write.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// State to delete.
    pub deletes: Vec<Vec<u8>>,
    /// What was counted.
    pub tally: Tally,
}

/// Counts of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Readings of a cell taken before, equal in time and value.
    pub repeated: i64,
    /// Readings of a cell taken before, different in time or value.
    pub superseded: i64,
    /// Readings behind their rig's window.
    pub late: i64,
    /// Readings in rows that were emitted.
    pub in_rows: i64,
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

/// Why an open row is emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Complete,
    Partial,
    Forced,
}

/// Open rows and the memory of emitted cells, for all rigs.
#[derive(Debug)]
pub struct Pivot {
    align: Duration,
    flush_interval: Duration,
    late_window: Duration,
    rig_idle: Duration,
    max_open_rows: usize,
    sensors: Sensors,
    rigs: HashMap<Arc<str>, Rig>,
    /// Open rows by the order in which they were opened.
    open: BTreeMap<u64, (Arc<str>, Timestamp)>,
    next_order: u64,
    /// When to look at a row or a rig again. An entry may be early: what it names then decides.
    row_timers: BinaryHeap<Reverse<(Duration, u64)>>,
    rig_timers: BinaryHeap<Reverse<(Duration, Arc<str>)>>,
    /// Rows whose state has to be written, each once.
    dirty: Vec<(Arc<str>, Timestamp)>,
    outcome: Outcome,
}

#[derive(Debug)]
struct Rig {
    newest: Timestamp,
    last_arrival: Duration,
    rows: BTreeMap<Timestamp, Seat>,
}

impl Pivot {
    /// Goes on from the state that earlier commits left. Entries that can't be read are dropped,
    /// and said.
    #[must_use]
    pub fn load(settings: &RowSettings, entries: State) -> Self {
        let mut outcome = Outcome::default();
        let loaded = state::decode(entries, &mut outcome.deletes);
        let sensors = Sensors::load(&settings.expected_sensors, loaded.sensors, &loaded.rows);
        outcome
            .deletes
            .extend(sensors.unused().iter().map(|id| state::sensor_key(*id)));
        let mut pivot = Self {
            align: settings.align,
            flush_interval: settings.flush_interval,
            late_window: settings.late_window,
            rig_idle: settings.rig_idle,
            max_open_rows: settings.max_open_rows,
            sensors,
            rigs: HashMap::new(),
            open: BTreeMap::new(),
            next_order: 0,
            row_timers: BinaryHeap::new(),
            rig_timers: BinaryHeap::new(),
            dirty: Vec::new(),
            outcome,
        };
        for (rig_id, tick, kept) in loaded.rows {
            if matches!(kept, state::Row::Emitted(_)) && !holds(Rule::RememberEmitted) {
                continue;
            }
            pivot.restore(&rig_id, tick, kept);
        }
        pivot
    }

    /// Rows that wait for more readings.
    #[must_use]
    pub fn open_rows(&self) -> usize {
        self.open.len()
    }

    /// Takes one reading that arrived `now`.
    pub fn take(&mut self, reading: &Reading<'_>, now: Duration) {
        let tick = reading.timestamp.tick(self.align);
        let sensor = self.sensors.id(&reading.sensor, &mut self.outcome.puts);
        let cell = Cell {
            sensor,
            time: reading.timestamp,
            value: reading.value,
        };
        let rig_id = self.meet(&reading.rig_id, tick, now);
        let Some(rig) = self.rigs.get_mut(&rig_id) else {
            return;
        };
        rig.last_arrival = now;
        if tick < rig.newest.minus(self.late_window) {
            self.outcome.tally.late += 1;
            self.emit(&rig_id, tick, &[cell]);
            return;
        }
        if tick > rig.newest {
            rig.newest = tick;
            let oldest = tick.minus(self.late_window);
            forget_before(&rig_id, rig, oldest, &mut self.outcome.deletes);
        }
        self.seat(&rig_id, tick, cell, now);
    }

    /// Emits rows that have waited long enough and forgets rigs that have gone silent. Call it
    /// only after a peek that reached the list's end, so that a backlog never cuts a row in half.
    /// Emits at most about `max_rows`; false if there are more.
    pub fn expire(&mut self, now: Duration, max_rows: usize) -> bool {
        while let Some(Reverse((due, order))) = self.row_timers.peek().copied() {
            if due > now {
                break;
            }
            if self.outcome.rows.len() >= max_rows {
                return false;
            }
            self.row_timers.pop();
            let Some(last_arrival) = self.open_row(order).map(|row| row.last_arrival) else {
                continue;
            };
            let due = last_arrival + self.flush_interval;
            if due > now {
                self.row_timers.push(Reverse((due, order)));
            } else {
                self.close(order, Why::Partial);
            }
        }
        self.forget_silent_rigs(now);
        true
    }

    /// What was decided since the last time, to be committed.
    pub fn finish(&mut self) -> Outcome {
        for (rig_id, tick) in std::mem::take(&mut self.dirty) {
            let seat = self
                .rigs
                .get_mut(&rig_id)
                .and_then(|rig| rig.rows.get_mut(&tick));
            if let Some(seat) = seat {
                seat.dirty = false;
                seat.stored = true;
                let key = state::row_key(&rig_id, tick);
                self.outcome.puts.push((key, state::encode(&seat.kept)));
            }
        }
        std::mem::take(&mut self.outcome)
    }

    /// The rig of that name; one that wasn't known starts with this tick.
    fn meet(&mut self, name: &str, newest: Timestamp, now: Duration) -> Arc<str> {
        if let Some((known, _)) = self.rigs.get_key_value(name) {
            return Arc::clone(known);
        }
        let rig_id: Arc<str> = Arc::from(name);
        let rig = Rig {
            newest,
            last_arrival: now,
            rows: BTreeMap::new(),
        };
        self.rigs.insert(Arc::clone(&rig_id), rig);
        self.rig_timers
            .push(Reverse((now + self.rig_idle, Arc::clone(&rig_id))));
        rig_id
    }

    /// Puts a cell in its row, if it is the first of its cell.
    fn seat(&mut self, rig_id: &Arc<str>, tick: Timestamp, cell: Cell, now: Duration) {
        let Some(rig) = self.rigs.get_mut(rig_id) else {
            return;
        };
        let tally = &mut self.outcome.tally;
        let seat = match rig.rows.entry(tick) {
            Entry::Occupied(seat) => seat.into_mut(),
            Entry::Vacant(seat) => {
                let order = self.next_order;
                self.next_order += 1;
                self.open.insert(order, (Arc::clone(rig_id), tick));
                self.row_timers
                    .push(Reverse((now + self.flush_interval, order)));
                let missing = self.sensors.expected();
                seat.insert(Seat::new(Kept::Open(OpenRow::new(order, missing, now))))
            }
        };
        let taken_before = match &seat.kept {
            Kept::Open(row) => row.cell(cell.sensor).map(|first| first == &cell),
            Kept::Emitted(cells) => {
                let first = cells.iter().find(|emitted| emitted.sensor == cell.sensor);
                first.map(|emitted| emitted.print == print(&cell))
            }
        };
        match taken_before {
            Some(true) => tally.repeated += 1,
            Some(false) => tally.superseded += 1,
            None => {}
        }
        if taken_before.is_some() {
            return;
        }
        if !seat.dirty {
            seat.dirty = true;
            self.dirty.push((Arc::clone(rig_id), tick));
        }
        match &mut seat.kept {
            Kept::Open(row) => {
                tally.open_readings += 1;
                row.push(cell, self.sensors.is_expected(cell.sensor));
                row.last_arrival = now;
                let (order, complete) = (row.order, row.missing == 0);
                if complete {
                    self.close(order, Why::Complete);
                } else {
                    self.force();
                }
            }
            Kept::Emitted(cells) => {
                cells.push(Emitted {
                    sensor: cell.sensor,
                    print: print(&cell),
                });
                tally.second += 1;
                self.emit(rig_id, tick, &[cell]);
            }
        }
    }

    fn force(&mut self) {
        while self.open.len() > self.max_open_rows {
            let Some(oldest) = self.open.keys().next().copied() else {
                return;
            };
            self.close(oldest, Why::Forced);
        }
    }

    fn open_row(&self, order: u64) -> Option<&OpenRow> {
        let (rig_id, tick) = self.open.get(&order)?;
        match &self.rigs.get(rig_id)?.rows.get(tick)?.kept {
            Kept::Open(row) => Some(row),
            Kept::Emitted(_) => None,
        }
    }

    /// Emits an open row and keeps the prints of its cells, if they are still in the window.
    fn close(&mut self, order: u64, why: Why) {
        let Some((rig_id, tick)) = self.open.remove(&order) else {
            return;
        };
        let Some(rig) = self.rigs.get_mut(&rig_id) else {
            return;
        };
        let Some(seat) = rig.rows.get_mut(&tick) else {
            return;
        };
        let Kept::Open(row) = &seat.kept else { return };
        let mut cells = row.cells.clone();
        let prints = cells.iter().map(|c| Emitted {
            sensor: c.sensor,
            print: print(c),
        });
        seat.kept = Kept::Emitted(prints.collect());
        if !seat.dirty {
            seat.dirty = true;
            self.dirty.push((Arc::clone(&rig_id), tick));
        }
        // Its rig may have moved on while the row was open.
        forget_before(
            &rig_id,
            rig,
            rig.newest.minus(self.late_window),
            &mut self.outcome.deletes,
        );
        let tally = &mut self.outcome.tally;
        match why {
            Why::Complete => tally.complete += 1,
            Why::Partial => tally.partial += 1,
            Why::Forced => tally.forced += 1,
        }
        tally.open_readings -= i64::try_from(cells.len()).unwrap_or(i64::MAX);
        cells.sort_unstable_by_key(|cell| cell.sensor);
        self.emit(&rig_id, tick, &cells);
    }

    fn emit(&mut self, rig_id: &str, tick: Timestamp, cells: &[Cell]) {
        self.outcome.tally.in_rows += i64::try_from(cells.len()).unwrap_or(i64::MAX);
        self.outcome
            .rows
            .push(self.sensors.encode_row(rig_id, tick, cells));
    }

    fn forget_silent_rigs(&mut self, now: Duration) {
        while let Some(Reverse((due, _))) = self.rig_timers.peek() {
            if *due > now {
                return;
            }
            let Some(Reverse((_, rig_id))) = self.rig_timers.pop() else {
                return;
            };
            let Some(rig) = self.rigs.get_mut(&rig_id) else {
                continue;
            };
            let due = rig.last_arrival + self.rig_idle;
            let waits = rig
                .rows
                .values()
                .any(|seat| matches!(seat.kept, Kept::Open(_)));
            if due > now || waits {
                let again = due.max(now + self.flush_interval);
                self.rig_timers.push(Reverse((again, rig_id)));
                continue;
            }
            for (tick, seat) in std::mem::take(&mut rig.rows) {
                if seat.stored {
                    self.outcome.deletes.push(state::row_key(&rig_id, tick));
                }
            }
            self.rigs.remove(&rig_id);
        }
    }

    /// Puts back a row that an earlier commit wrote; timers start anew.
    fn restore(&mut self, name: &str, tick: Timestamp, kept: state::Row) {
        let rig_id = self.meet(name, tick, Duration::ZERO);
        let kept = match kept {
            state::Row::Emitted(cells) => Kept::Emitted(cells),
            state::Row::Open(cells) => {
                let order = self.next_order;
                self.next_order += 1;
                self.open.insert(order, (Arc::clone(&rig_id), tick));
                self.row_timers.push(Reverse((self.flush_interval, order)));
                let mut row = OpenRow::new(order, self.sensors.expected(), Duration::ZERO);
                for cell in cells {
                    row.push(cell, self.sensors.is_expected(cell.sensor));
                }
                Kept::Open(row)
            }
        };
        if let Some(rig) = self.rigs.get_mut(&rig_id) {
            rig.newest = rig.newest.max(tick);
            rig.rows.insert(
                tick,
                Seat {
                    stored: true,
                    ..Seat::new(kept)
                },
            );
        }
    }
}

/// Forgets emitted rows with ticks before `oldest`; open ones wait for their timer.
fn forget_before(rig_id: &str, rig: &mut Rig, oldest: Timestamp, deletes: &mut Vec<Vec<u8>>) {
    let emitted = |_: &Timestamp, seat: &mut Seat| matches!(seat.kept, Kept::Emitted(_));
    for (tick, seat) in rig.rows.extract_if(..oldest, emitted) {
        if seat.stored {
            deletes.push(state::row_key(rig_id, tick));
        }
    }
}
