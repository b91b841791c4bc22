//! Sensors by number, so that rows in memory and in the state don't carry names.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::row::Row;
use common::time::Timestamp;
use common::wire;

use super::rows::{Cell, SensorId};
use super::state;

#[derive(Debug, Clone)]
struct Sensor {
    name: Arc<str>,
    expected: bool,
    /// Its name is in the state, or will be with this step's commit.
    stored: bool,
}

#[derive(Debug, Default)]
pub(super) struct Sensors {
    /// By number; numbers that went out of use leave gaps.
    slots: Vec<Option<Sensor>>,
    ids: HashMap<Arc<str>, SensorId>,
    expected: usize,
    unused: Vec<SensorId>,
}

impl Sensors {
    /// Goes on with the `known` numbers, except of sensors that are neither expected nor in `rows`.
    pub(super) fn load(
        expected: &[String],
        known: Vec<(SensorId, String)>,
        rows: &[(String, Timestamp, state::Row)],
    ) -> Self {
        let used: HashSet<SensorId> = rows.iter().flat_map(|(_, _, row)| row.sensors()).collect();
        let mut sensors = Self::default();
        // A number isn't given anew before its deletion is committed.
        let most = known
            .iter()
            .map(|(id, _)| id.0 as usize + 1)
            .max()
            .unwrap_or(0);
        sensors.slots.resize(most, None);
        for (id, name) in known {
            if used.contains(&id) || expected.contains(&name) {
                sensors.insert(id, Arc::from(name), true);
            } else {
                sensors.unused.push(id);
            }
        }
        for name in expected {
            let id = match sensors.ids.get(name.as_str()) {
                Some(id) => *id,
                None => sensors.add(name, false),
            };
            if let Some(Some(sensor)) = sensors.slots.get_mut(id.0 as usize) {
                sensor.expected = true;
            }
        }
        sensors.expected = expected.len();
        sensors
    }

    /// How many sensors make a row complete.
    pub(super) const fn expected(&self) -> usize {
        self.expected
    }

    /// Numbers that the state may forget.
    pub(super) fn unused(&self) -> &[SensorId] {
        &self.unused
    }

    pub(super) fn is_expected(&self, id: SensorId) -> bool {
        matches!(self.slots.get(id.0 as usize), Some(Some(sensor)) if sensor.expected)
    }

    /// The sensor's number; its name goes to `puts` when it is used for the first time.
    pub(super) fn id(&mut self, name: &str, puts: &mut Vec<(Vec<u8>, Vec<u8>)>) -> SensorId {
        let id = match self.ids.get(name) {
            Some(id) => *id,
            None => self.add(name, false),
        };
        if let Some(Some(sensor)) = self.slots.get_mut(id.0 as usize)
            && !sensor.stored
        {
            sensor.stored = true;
            puts.push((state::sensor_key(id), name.as_bytes().to_vec()));
        }
        id
    }

    /// The element of a row with these cells.
    pub(super) fn encode_row(&self, rig_id: &str, tick: Timestamp, cells: &[Cell]) -> Vec<u8> {
        let mut row = Row::of_rig(rig_id, tick);
        row.fields.extend(cells.iter().filter_map(|cell| {
            let sensor = self.slots.get(cell.sensor.0 as usize)?.as_ref()?;
            Some((Cow::Borrowed(&*sensor.name), cell.value))
        }));
        let mut element = Vec::with_capacity(64 + 24 * cells.len());
        wire::encode_row(&row, &mut element);
        element
    }

    fn add(&mut self, name: &str, stored: bool) -> SensorId {
        let id = SensorId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.slots.push(None);
        self.insert(id, Arc::from(name), stored);
        id
    }

    fn insert(&mut self, id: SensorId, name: Arc<str>, stored: bool) {
        self.ids.insert(Arc::clone(&name), id);
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            *slot = Some(Sensor {
                name,
                expected: false,
                stored,
            });
        }
    }
}
