//! The pivot's state as entries of the queue: a sensor's name, or a row.
//!
//! One entry per row rather than one per rig: a commit then writes only the rows that it changed
//! (see docs/adr/0002-state-per-row.md).
//!
//! | entry | key | value |
//! | --- | --- | --- |
//! | sensor | `s`, number (4 bytes) | name |
//! | open row | `r`, tick (8 bytes), rig | `o`, then per cell: sensor, time (8), value (8) |
//! | emitted row | `r`, tick (8 bytes), rig | `e`, then per cell: sensor, fingerprint (4) |
//!
//! Numbers are big-endian, times nanoseconds since 1970. A sensor is its number in one byte, or 255
//! and the number in four.

use std::collections::HashSet;

use model::{Name, SensorName, Timestamp};

use super::rows::{Cell, EmittedCell, SensorId};

const SENSOR: u8 = b's';
const ROW: u8 = b'r';
const OPEN: u8 = b'o';
const EMITTED: u8 = b'e';
const WIDE: u8 = 255;

/// A row as the state has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredRow {
    pub(super) rig: Name<'static>,
    pub(super) tick: Timestamp,
    pub(super) cells: StoredCells,
}

/// The cells of a row as the state has them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StoredCells {
    Open(Vec<Cell>),
    Emitted(Vec<EmittedCell>),
}

impl StoredRow {
    pub(super) fn sensors(&self) -> Vec<SensorId> {
        match &self.cells {
            StoredCells::Open(cells) => cells.iter().map(|cell| cell.sensor).collect(),
            StoredCells::Emitted(cells) => cells.iter().map(|cell| cell.sensor).collect(),
        }
    }
}

/// Everything that the state holds, rows by tick and rig.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) sensors: Vec<(SensorId, SensorName<'static>)>,
    pub(super) rows: Vec<StoredRow>,
}

pub(super) fn sensor_key(id: SensorId) -> Vec<u8> {
    let mut key = vec![SENSOR];
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

pub(super) fn row_key(rig: &Name<'_>, tick: Timestamp) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + rig.len());
    key.push(ROW);
    key.extend_from_slice(&tick.nanos().to_be_bytes());
    key.extend_from_slice(rig.as_bytes());
    key
}

pub(super) fn encode_open(cells: &[Cell]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + 17 * cells.len());
    value.push(OPEN);
    for cell in cells {
        put_sensor(cell.sensor, &mut value);
        value.extend_from_slice(&cell.time.nanos().to_be_bytes());
        value.extend_from_slice(&cell.value.to_bits().to_be_bytes());
    }
    value
}

pub(super) fn encode_emitted(cells: &[EmittedCell]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + 5 * cells.len());
    value.push(EMITTED);
    for cell in cells {
        put_sensor(cell.sensor, &mut value);
        value.extend_from_slice(&cell.fingerprint.to_be_bytes());
    }
    value
}

/// Decodes all entries. Entries that can't be decoded, and rows with a sensor whose name is
/// missing, are logged, and their keys go to `unreadable`.
pub(super) fn decode(entries: queue::State, unreadable: &mut Vec<Vec<u8>>) -> Loaded {
    let mut loaded = Loaded::default();
    let mut refuse = |key: Vec<u8>| {
        tracing::error!(key = %key.escape_ascii(), "cannot read an entry of the state, deleting it");
        unreadable.push(key);
    };
    let mut rows = Vec::new();
    for (key, value) in entries {
        let read = match key.first() {
            Some(&SENSOR) => read_sensor(&key, &value).map(|sensor| loaded.sensors.push(sensor)),
            Some(&ROW) => read_row(&key, &value).map(|row| rows.push(row)),
            _ => None,
        };
        if read.is_none() {
            refuse(key);
        }
    }
    let named: HashSet<SensorId> = loaded.sensors.iter().map(|(id, _)| *id).collect();
    for row in rows {
        if row.sensors().iter().all(|id| named.contains(id)) {
            loaded.rows.push(row);
        } else {
            refuse(row_key(&row.rig, row.tick));
        }
    }
    loaded
        .rows
        .sort_by(|a, b| (a.tick, &a.rig).cmp(&(b.tick, &b.rig)));
    loaded
}

fn read_sensor(key: &[u8], value: &[u8]) -> Option<(SensorId, SensorName<'static>)> {
    let id = u32::from_be_bytes(key.get(1..)?.try_into().ok()?);
    let name = String::from_utf8(value.to_vec()).ok()?;
    Some((SensorId(id), SensorName::new(name).ok()?))
}

fn read_row(key: &[u8], value: &[u8]) -> Option<StoredRow> {
    let (tick, rig) = key.get(1..)?.split_first_chunk::<8>()?;
    let tick = Timestamp::from_nanos(i64::from_be_bytes(*tick));
    let rig = Name::new(String::from_utf8(rig.to_vec()).ok()?).ok()?;
    let (kind, mut rest) = value.split_first()?;
    let cells = match *kind {
        OPEN => {
            let mut cells = Vec::new();
            while !rest.is_empty() {
                let sensor = take_sensor(&mut rest)?;
                let time = Timestamp::from_nanos(i64::from_be_bytes(take_bytes(&mut rest)?));
                let value = f64::from_bits(u64::from_be_bytes(take_bytes(&mut rest)?));
                cells.push(Cell {
                    sensor,
                    time,
                    value,
                });
            }
            StoredCells::Open(cells)
        }
        EMITTED => {
            let mut cells = Vec::new();
            while !rest.is_empty() {
                let sensor = take_sensor(&mut rest)?;
                let fingerprint = u32::from_be_bytes(take_bytes(&mut rest)?);
                cells.push(EmittedCell {
                    sensor,
                    fingerprint,
                });
            }
            StoredCells::Emitted(cells)
        }
        _ => return None,
    };
    Some(StoredRow { rig, tick, cells })
}

fn put_sensor(id: SensorId, value: &mut Vec<u8>) {
    match u8::try_from(id.0) {
        Ok(short) if short < WIDE => value.push(short),
        _ => {
            value.push(WIDE);
            value.extend_from_slice(&id.0.to_be_bytes());
        }
    }
}

fn take_sensor(rest: &mut &[u8]) -> Option<SensorId> {
    let [short] = take_bytes(rest)?;
    if short < WIDE {
        return Some(SensorId(u32::from(short)));
    }
    Some(SensorId(u32::from_be_bytes(take_bytes(rest)?)))
}

fn take_bytes<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}
