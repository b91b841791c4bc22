//! A slow reference implementation of the row rules, written from their text: lists, searched from
//! end to end.

use std::time::Duration;

use model::dead_letter::Reason;
use model::{SensorName, Timestamp};

use super::Counts;
use crate::settings::RowSettings;

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taken {
    pub(super) rig: String,
    pub(super) sensor: String,
    pub(super) time: Timestamp,
    pub(super) value: f64,
}

#[derive(Debug, Clone)]
struct Row {
    rig: String,
    tick: Timestamp,
    cells: Vec<Taken>,
    open: bool,
    opened: usize,
    last_arrival: Duration,
}

#[derive(Debug, Clone)]
struct Rig {
    name: String,
    newest: Timestamp,
    last_arrival: Duration,
}

/// What a row looks like to a reader: rig, tick, fields by name.
pub(super) type Emission = (String, Timestamp, Vec<(String, f64)>);

#[derive(Debug, Clone)]
pub(super) struct ReferencePivot {
    settings: RowSettings,
    rows: Vec<Row>,
    rigs: Vec<Rig>,
    /// Sensors that have sent a reading, besides the expected ones.
    sensors: Vec<String>,
    opened: usize,
    pub(super) emitted: Vec<Emission>,
    pub(super) counts: Counts,
}

impl ReferencePivot {
    pub(super) fn new(settings: RowSettings) -> Self {
        Self {
            settings,
            rows: Vec::new(),
            rigs: Vec::new(),
            sensors: Vec::new(),
            opened: 0,
            emitted: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// As if the process had been started again: order and timers are gone, the rest is not.
    pub(super) fn restart(&mut self) {
        self.rows
            .sort_by(|a, b| (a.tick, &a.rig).cmp(&(b.tick, &b.rig)));
        for (opened, row) in self.rows.iter_mut().enumerate() {
            (row.opened, row.last_arrival) = (opened, Duration::ZERO);
        }
        self.opened = self.rows.len();
        let is_held = |row: &&Row| {
            let rig = self.rigs.iter().find(|rig| rig.name == row.rig).unwrap();
            row.open || row.tick >= rig.newest.minus(self.settings.late_window)
        };
        let held = self.rows.iter().filter(is_held);
        let held: Vec<&String> = held
            .flat_map(|row| row.cells.iter().map(|cell| &cell.sensor))
            .collect();
        self.sensors.retain(|sensor| held.contains(&sensor));
        for rig in &mut self.rigs {
            rig.last_arrival = Duration::ZERO;
        }
    }

    /// Why a reading is refused, by the limits alone.
    fn refuse(&self, reading: &Taken, tick: Timestamp) -> Option<Reason> {
        let limits = self.settings.limits;
        let rig = self.rigs.iter().find(|rig| rig.name == reading.rig);
        if rig.is_none() && self.rigs.len() == limits.max_series {
            return Some(Reason::TooManySeries);
        }
        let is_late = rig.is_some_and(|rig| tick < rig.newest.minus(self.settings.late_window));
        let row = self
            .rows
            .iter()
            .find(|row| row.rig == reading.rig && row.tick == tick && (row.open || !is_late));
        let is_known = self.is_known(&reading.sensor);
        if let Some(row) = row
            && (!is_late || !is_known)
            && row.cells.len() == limits.max_row_fields
            && !row.cells.iter().any(|cell| cell.sensor == reading.sensor)
        {
            return Some(Reason::RowTooWide);
        }
        let known = self.settings.expected_sensors.len() + self.sensors.len();
        (!is_known && known == limits.max_fields).then_some(Reason::TooManyFields)
    }

    fn is_known(&self, sensor: &String) -> bool {
        let mut expected = self.settings.expected_sensors.iter();
        self.sensors.contains(sensor) || expected.any(|name| **name == **sensor)
    }

    pub(super) fn take(&mut self, reading: &Taken, now: Duration) -> Option<Reason> {
        let tick = reading.time.tick(self.settings.align);
        if let Some(reason) = self.refuse(reading, tick) {
            return Some(reason);
        }
        if !self.is_known(&reading.sensor) {
            self.sensors.push(reading.sensor.clone());
        }
        self.insert(reading, tick, now);
        None
    }

    fn insert(&mut self, reading: &Taken, tick: Timestamp, now: Duration) {
        if !self.rigs.iter().any(|rig| rig.name == reading.rig) {
            let name = reading.rig.clone();
            self.rigs.push(Rig {
                name,
                newest: tick,
                last_arrival: now,
            });
        }
        let rig = self
            .rigs
            .iter_mut()
            .find(|rig| rig.name == reading.rig)
            .unwrap();
        rig.last_arrival = now;
        if tick < rig.newest.minus(self.settings.late_window) {
            self.counts.late += 1;
            self.emit(tick, std::slice::from_ref(reading));
            return;
        }
        rig.newest = rig.newest.max(tick);
        if !self
            .rows
            .iter()
            .any(|row| row.rig == reading.rig && row.tick == tick)
        {
            let (rig, opened) = (reading.rig.clone(), self.opened);
            self.opened += 1;
            let cells = Vec::new();
            self.rows.push(Row {
                rig,
                tick,
                cells,
                open: true,
                opened,
                last_arrival: now,
            });
        }
        let place = self
            .rows
            .iter()
            .position(|row| row.rig == reading.rig && row.tick == tick);
        let row = &mut self.rows[place.unwrap()];
        if let Some(first) = row.cells.iter().find(|cell| cell.sensor == reading.sensor) {
            if first == reading {
                self.counts.repeated += 1;
            } else {
                self.counts.superseded += 1;
            }
            return;
        }
        row.cells.push(reading.clone());
        row.last_arrival = now;
        if !row.open {
            self.counts.second += 1;
            self.emit(tick, std::slice::from_ref(reading));
            return;
        }
        self.counts.open_readings += 1;
        let has = |name: &SensorName<'_>| row.cells.iter().any(|cell| *name == *cell.sensor);
        if self.settings.expected_sensors.iter().all(has) {
            self.counts.complete += 1;
            self.close(place.unwrap());
        }
        while self.rows.iter().filter(|row| row.open).count() > self.settings.max_open_rows {
            let open = self.rows.iter().enumerate().filter(|(_, row)| row.open);
            let oldest = open.min_by_key(|(_, row)| row.opened).unwrap().0;
            self.counts.forced += 1;
            self.close(oldest);
        }
    }

    pub(super) fn expire(&mut self, now: Duration) {
        for place in 0..self.rows.len() {
            let row = &self.rows[place];
            if row.open && row.last_arrival + self.settings.flush_interval <= now {
                self.counts.partial += 1;
                self.close(place);
            }
        }
    }

    /// Forgets idle rigs; the pivot may be late with it by a flush interval, so tests ask for
    /// it only where both agree.
    pub(super) fn forget_idle_rigs(&mut self, now: Duration) {
        let idle = self.settings.rig_idle;
        let silent = |rig: &Rig, rows: &[Row]| {
            let waits = rows.iter().any(|row| row.rig == rig.name && row.open);
            rig.last_arrival + idle <= now && !waits
        };
        let gone: Vec<String> = self
            .rigs
            .iter()
            .filter(|rig| silent(rig, &self.rows))
            .map(|rig| rig.name.clone())
            .collect();
        self.rigs.retain(|rig| !gone.contains(&rig.name));
        self.rows.retain(|row| !gone.contains(&row.rig));
    }

    fn close(&mut self, place: usize) {
        self.rows[place].open = false;
        let (tick, cells) = (self.rows[place].tick, self.rows[place].cells.clone());
        self.counts.open_readings -= i64::try_from(cells.len()).unwrap();
        self.emit(tick, &cells);
    }

    fn emit(&mut self, tick: Timestamp, cells: &[Taken]) {
        self.counts.in_rows += cells.len() as u64;
        let mut fields: Vec<_> = cells
            .iter()
            .map(|cell| (cell.sensor.clone(), cell.value))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        self.emitted.push((cells[0].rig.clone(), tick, fields));
    }
}
