//! Sensors by number, so that rows in memory and in the state don't carry names.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use model::element::encode_row;
use model::{Name, Row, SensorName, Timestamp};

use super::Inconsistent;
use super::rows::{Cell, SensorId};
use super::state::{self, StoredRow};

#[derive(Debug, Clone)]
struct Sensor {
    name: SensorName<'static>,
    expected: bool,
    /// Its name is in the state, or will be with this step's commit.
    stored: bool,
    /// Cells of this sensor in the rows that are held.
    cells: usize,
    /// When its last reading arrived, since the lease was taken.
    last_arrival: Duration,
}

/// The names of all sensors in use, by number.
#[derive(Debug, Default)]
pub(super) struct Sensors {
    slots: Vec<Option<Sensor>>,
    ids: HashMap<SensorName<'static>, SensorId>,
    expected: usize,
    /// Numbers without a sensor.
    free: Vec<SensorId>,
    /// Numbers whose deletion this step commits. They become free with the next step: a commit must
    /// not write a key that it also deletes.
    released: Vec<SensorId>,
    /// When to check whether a sensor is idle. Its last arrival decides, so an entry may be early.
    timers: BinaryHeap<Reverse<(Duration, SensorId)>>,
}

impl Sensors {
    /// Restores the `known` numbers. The numbers of sensors that are neither expected nor in `rows` are
    /// returned: their keys have to be deleted.
    pub(super) fn load(
        expected: &[SensorName<'static>],
        known: Vec<(SensorId, SensorName<'static>)>,
        rows: &[StoredRow],
        idle: Duration,
    ) -> Result<(Self, Vec<SensorId>), Inconsistent> {
        let used: HashSet<SensorId> = rows.iter().flat_map(StoredRow::sensors).collect();
        let mut sensors = Self {
            expected: expected.len(),
            ..Self::default()
        };
        for (id, name) in known {
            let place = id.0 as usize;
            if sensors.slots.len() <= place {
                sensors.slots.resize(place + 1, None);
            }
            let expected = expected.contains(&name);
            if used.contains(&id) || expected {
                sensors.put(id, name, expected, Duration::ZERO, idle);
                sensors.get_mut(id)?.stored = true;
            } else {
                sensors.released.push(id);
            }
        }
        let unused = sensors.released.clone();
        let is_gap = |id: &SensorId| {
            let slot = sensors.slots.get(id.0 as usize);
            slot.is_some_and(Option::is_none) && !unused.contains(id)
        };
        let all = u32::try_from(sensors.slots.len()).map_err(|_| Inconsistent::TOO_MANY_SENSORS)?;
        sensors.free = (0..all).map(SensorId).filter(is_gap).collect();
        for name in expected {
            if !sensors.ids.contains_key(name.as_str()) {
                let id = sensors.unused_id()?;
                sensors.put(id, name.clone(), true, Duration::ZERO, idle);
            }
        }
        Ok((sensors, unused))
    }

    /// How many sensors are in use.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// How many sensors make a row complete.
    pub(super) const fn expected(&self) -> usize {
        self.expected
    }

    pub(super) fn is_expected(&self, id: SensorId) -> bool {
        self.get(id).is_some_and(|sensor| sensor.expected)
    }

    pub(super) fn id(&self, name: &str) -> Option<SensorId> {
        self.ids.get(name).copied()
    }

    pub(super) fn name(&self, id: SensorId) -> Result<&str, Inconsistent> {
        let sensor = self.get(id).ok_or(Inconsistent::NO_SENSOR)?;
        Ok(sensor.name.as_str())
    }

    /// Gives a number to a sensor that has none.
    pub(super) fn insert(
        &mut self,
        name: SensorName<'static>,
        now: Duration,
        idle: Duration,
    ) -> Result<SensorId, Inconsistent> {
        let id = self.unused_id()?;
        self.put(id, name, false, now, idle);
        Ok(id)
    }

    /// Records that a reading of the sensor arrived. The sensor's name goes to `puts` when it is used for
    /// the first time.
    pub(super) fn record_arrival(
        &mut self,
        id: SensorId,
        now: Duration,
        puts: &mut Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), Inconsistent> {
        let sensor = self.get_mut(id)?;
        sensor.last_arrival = now;
        if !sensor.stored {
            sensor.stored = true;
            puts.push((state::sensor_key(id), sensor.name.as_bytes().to_vec()));
        }
        Ok(())
    }

    /// Counts a cell of the sensor in a row that is held.
    pub(super) fn add_cell(&mut self, id: SensorId) -> Result<(), Inconsistent> {
        self.get_mut(id)?.cells += 1;
        Ok(())
    }

    /// A cell's row is no longer held.
    pub(super) fn remove_cell(&mut self, id: SensorId) -> Result<(), Inconsistent> {
        let sensor = self.get_mut(id)?;
        let left = sensor.cells.checked_sub(1);
        sensor.cells = left.ok_or(Inconsistent::NO_CELL)?;
        Ok(())
    }

    /// Releases the numbers of sensors without a reading for `idle` and without a row that is held;
    /// expected sensors keep theirs. Rows that were emitted aren't affected.
    pub(super) fn release_idle(
        &mut self,
        now: Duration,
        idle: Duration,
        deletes: &mut Vec<Vec<u8>>,
    ) -> Result<(), Inconsistent> {
        while let Some(Reverse((due, id))) = self.timers.peek().copied() {
            if due > now {
                break;
            }
            self.timers.pop();
            let sensor = self.get(id).ok_or(Inconsistent::NO_SENSOR)?;
            let due = sensor.last_arrival + idle;
            if due > now || sensor.cells > 0 {
                // The rows of a rig are held for up to `idle` longer than its last reading.
                let next = if due > now { due } else { now + idle };
                self.timers.push(Reverse((next, id)));
                continue;
            }
            if sensor.stored {
                deletes.push(state::sensor_key(id));
            }
            if let Some(sensor) = self.slots[id.0 as usize].take() {
                self.ids.remove(sensor.name.as_str());
            }
            self.released.push(id);
        }
        Ok(())
    }

    /// Ends a step: what it released can be used by the next one.
    pub(super) fn finish(&mut self) {
        self.free.append(&mut self.released);
    }

    /// The element of a row with these cells.
    pub(super) fn encode_row(
        &self,
        rig: &Name<'_>,
        tick: Timestamp,
        cells: &[Cell],
    ) -> Result<Vec<u8>, Inconsistent> {
        let mut row = Row::of_rig(rig.borrowed(), tick);
        for cell in cells {
            let sensor = self.get(cell.sensor).ok_or(Inconsistent::NO_SENSOR)?;
            row.fields.push((sensor.name.borrowed(), cell.value));
        }
        let mut element = Vec::with_capacity(64 + 24 * cells.len());
        encode_row(&row, &mut element);
        Ok(element)
    }

    fn get(&self, id: SensorId) -> Option<&Sensor> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, id: SensorId) -> Result<&mut Sensor, Inconsistent> {
        let slot = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut);
        slot.ok_or(Inconsistent::NO_SENSOR)
    }

    /// A number that no sensor has, with its slot.
    fn unused_id(&mut self) -> Result<SensorId, Inconsistent> {
        if let Some(id) = self.free.pop() {
            return Ok(id);
        }
        let id = u32::try_from(self.slots.len()).map_err(|_| Inconsistent::TOO_MANY_SENSORS)?;
        self.slots.push(None);
        Ok(SensorId(id))
    }

    fn put(
        &mut self,
        id: SensorId,
        name: SensorName<'static>,
        expected: bool,
        now: Duration,
        idle: Duration,
    ) {
        self.ids.insert(name.clone(), id);
        if !expected {
            self.timers.push(Reverse((now + idle, id)));
        }
        self.slots[id.0 as usize] = Some(Sensor {
            name,
            expected,
            stored: false,
            cells: 0,
            last_arrival: now,
        });
    }
}
