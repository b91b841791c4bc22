//! A slow reference implementation of the row rules, written from their text: lists, searched from
//! end to end.

use std::time::Duration;

use model::dead_letter::Reason;
use model::{Name, Timestamp, Value};

use crate::settings::RowSettings;
use crate::shape::Counts;
use crate::testing::Emission;

/// A sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taken {
    pub(super) rig: String,
    pub(super) time: Timestamp,
    pub(super) values: Vec<(String, Value)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Cell {
    sensor: String,
    time: Timestamp,
    value: Value,
}

#[derive(Debug, Clone)]
struct Row {
    rig: String,
    tick: Timestamp,
    cells: Vec<Cell>,
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

    /// Why a sample is refused, by the limits alone.
    fn refuse(&self, taken: &Taken, tick: Timestamp) -> Option<Reason> {
        let limits = self.settings.limits;
        let rig = self.rigs.iter().find(|rig| rig.name == taken.rig);
        if rig.is_none() && self.rigs.len() == limits.max_series {
            return Some(Reason::TooManySeries);
        }
        let is_late = rig.is_some_and(|rig| tick < rig.newest.minus(self.settings.late_window));
        let mut rows = self.rows.iter().filter(|_| !is_late);
        let row = rows.find(|row| row.rig == taken.rig && row.tick == tick);
        let names = taken.values.iter().map(|(name, _)| name);
        let in_row: Vec<&String> = row
            .iter()
            .flat_map(|row| row.cells.iter().map(|cell| &cell.sensor))
            .collect();
        let fresh = names.clone().filter(|name| !in_row.contains(name)).count();
        if in_row.len() + fresh > limits.max_row_fields {
            return Some(Reason::RowTooWide);
        }
        let known = self.settings.expected_sensors.len() + self.sensors.len();
        let new = names.filter(|name| !self.is_known(name)).count();
        (new > 0 && known + new > limits.max_fields).then_some(Reason::TooManyFields)
    }

    fn is_known(&self, sensor: &String) -> bool {
        let mut expected = self.settings.expected_sensors.iter();
        self.sensors.contains(sensor) || expected.any(|name| **name == **sensor)
    }

    pub(super) fn take(&mut self, taken: &Taken, now: Duration) -> Option<Reason> {
        let tick = taken.time.tick(self.settings.align);
        if let Some(reason) = self.refuse(taken, tick) {
            return Some(reason);
        }
        for (name, _) in &taken.values {
            if !self.is_known(name) {
                self.sensors.push(name.clone());
            }
        }
        self.counts.readings += taken.values.len() as u64;
        self.insert(taken, tick, now);
        None
    }

    fn insert(&mut self, taken: &Taken, tick: Timestamp, now: Duration) {
        if !self.rigs.iter().any(|rig| rig.name == taken.rig) {
            let name = taken.rig.clone();
            self.rigs.push(Rig {
                name,
                newest: tick,
                last_arrival: now,
            });
        }
        let cells = taken.values.iter().map(|(sensor, value)| Cell {
            sensor: sensor.clone(),
            time: taken.time,
            value: value.clone(),
        });
        let mut rigs = self.rigs.iter_mut();
        let rig = rigs.find(|rig| rig.name == taken.rig).unwrap();
        rig.last_arrival = now;
        if tick < rig.newest.minus(self.settings.late_window) {
            self.counts.late += taken.values.len() as u64;
            self.counts.late_rows += 1;
            let cells: Vec<_> = cells.collect();
            self.emit(&taken.rig, tick, &cells);
            return;
        }
        rig.newest = rig.newest.max(tick);
        let place = self.place(&taken.rig, tick, now);
        let row = &mut self.rows[place];
        let mut new = Vec::new();
        for cell in cells {
            match row.cells.iter().find(|first| first.sensor == cell.sensor) {
                None => new.push(cell),
                Some(first) if *first == cell => self.counts.repeated += 1,
                Some(_) => self.counts.superseded += 1,
            }
        }
        if new.is_empty() {
            return;
        }
        row.cells.extend(new.clone());
        row.last_arrival = now;
        if !row.open {
            self.counts.second += 1;
            self.emit(&taken.rig, tick, &new);
            return;
        }
        self.counts.open_readings += i64::try_from(new.len()).unwrap();
        let has = |name: &Name<'_>| row.cells.iter().any(|cell| *name == *cell.sensor);
        let expected = &self.settings.expected_sensors;
        if !expected.is_empty() && expected.iter().all(has) {
            self.counts.complete += 1;
            self.close(place);
        }
        while self.rows.iter().filter(|row| row.open).count() > self.settings.max_open_rows {
            let open = self.rows.iter().enumerate().filter(|(_, row)| row.open);
            let oldest = open.min_by_key(|(_, row)| row.opened).unwrap().0;
            self.counts.forced += 1;
            self.close(oldest);
        }
    }

    /// The place of a row, which is opened if there is none.
    fn place(&mut self, rig: &str, tick: Timestamp, now: Duration) -> usize {
        let mut rows = self.rows.iter();
        if let Some(place) = rows.position(|row| row.rig == rig && row.tick == tick) {
            return place;
        }
        self.rows.push(Row {
            rig: rig.to_owned(),
            tick,
            cells: Vec::new(),
            open: true,
            opened: self.opened,
            last_arrival: now,
        });
        self.opened += 1;
        self.rows.len() - 1
    }

    /// How many readings wait in open rows.
    pub(super) fn open_readings(&self) -> usize {
        let open = self.rows.iter().filter(|row| row.open);
        open.map(|row| row.cells.len()).sum()
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
        let row = &mut self.rows[place];
        row.open = false;
        let (rig, tick, cells) = (row.rig.clone(), row.tick, row.cells.clone());
        self.counts.open_readings -= i64::try_from(cells.len()).unwrap();
        self.emit(&rig, tick, &cells);
    }

    fn emit(&mut self, rig: &str, tick: Timestamp, cells: &[Cell]) {
        self.counts.in_rows += cells.len() as u64;
        let mut fields: Vec<_> = cells
            .iter()
            .map(|cell| (cell.sensor.clone(), cell.value.clone()))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        self.emitted.push((rig.to_owned(), tick, fields));
    }
}
