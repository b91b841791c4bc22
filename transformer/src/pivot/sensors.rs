//! Sensors by number, so that rows in memory and in the state don't carry names.

use std::collections::{HashMap, HashSet};

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
}

/// The names of all sensors, by number.
#[derive(Debug, Default)]
pub(super) struct Sensors {
    /// Numbers that went out of use leave gaps.
    slots: Vec<Option<Sensor>>,
    ids: HashMap<SensorName<'static>, SensorId>,
    expected: usize,
}

impl Sensors {
    /// Restores the `known` numbers. Those of sensors that are neither expected nor in `rows` are
    /// returned: the state may forget them.
    pub(super) fn load(
        expected: &[SensorName<'static>],
        known: Vec<(SensorId, SensorName<'static>)>,
        rows: &[StoredRow],
    ) -> Result<(Self, Vec<SensorId>), Inconsistent> {
        let used: HashSet<SensorId> = rows.iter().flat_map(StoredRow::sensors).collect();
        let mut sensors = Self {
            expected: expected.len(),
            ..Self::default()
        };
        let mut unused = Vec::new();
        for (id, name) in known {
            let place = id.0 as usize;
            // An unused number leaves a gap, too: it must not be given to another sensor before its
            // deletion is committed.
            if sensors.slots.len() <= place {
                sensors.slots.resize(place + 1, None);
            }
            let is_expected = expected.contains(&name);
            if used.contains(&id) || is_expected {
                sensors.ids.insert(name.clone(), id);
                sensors.slots[place] = Some(Sensor {
                    name,
                    expected: is_expected,
                    stored: true,
                });
            } else {
                unused.push(id);
            }
        }
        for name in expected {
            if !sensors.ids.contains_key(name.as_str()) {
                sensors.add(name.clone(), true)?;
            }
        }
        Ok((sensors, unused))
    }

    /// How many sensors make a row complete.
    pub(super) const fn expected(&self) -> usize {
        self.expected
    }

    pub(super) fn is_expected(&self, id: SensorId) -> bool {
        self.get(id).is_some_and(|sensor| sensor.expected)
    }

    /// The sensor's number; its name goes to `puts` when it is used for the first time.
    pub(super) fn get_or_insert(
        &mut self,
        name: &SensorName<'_>,
        puts: &mut Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<SensorId, Inconsistent> {
        let id = match self.ids.get(name.as_str()) {
            Some(id) => *id,
            None => self.add(name.clone().into_owned(), false)?,
        };
        let slot = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut);
        let sensor = slot.ok_or(Inconsistent::NO_SENSOR)?;
        if !sensor.stored {
            sensor.stored = true;
            puts.push((state::sensor_key(id), name.as_bytes().to_vec()));
        }
        Ok(id)
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

    fn add(&mut self, name: SensorName<'static>, expected: bool) -> Result<SensorId, Inconsistent> {
        let id = u32::try_from(self.slots.len()).map_err(|_| Inconsistent::TOO_MANY_SENSORS)?;
        self.ids.insert(name.clone(), SensorId(id));
        self.slots.push(Some(Sensor {
            name,
            expected,
            stored: false,
        }));
        Ok(SensorId(id))
    }
}
