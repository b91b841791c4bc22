//! The pivot's state as entries of the queue: a sensor's name, or a row.
//!
//! One entry a row rather than one a rig: a commit then writes only the rows that it changed (see
//! docs/adr/0002-state-per-row.md).
//!
//! | entry | key | value |
//! | --- | --- | --- |
//! | sensor | `s`, number (4 bytes) | name |
//! | open row | `r`, tick (8 bytes), rig | `o`, then per cell: sensor, time (8), value (8) |
//! | emitted row | `r`, tick (8 bytes), rig | `e`, then per cell: sensor, print (4) |
//!
//! Numbers are big-endian, times nanoseconds since 1970. A sensor is its number in one byte, or 255
//! and the number in four.

use common::time::Timestamp;

use super::rows::{Cell, Emitted, Kept, SensorId};

const SENSOR: u8 = b's';
const ROW: u8 = b'r';
const OPEN: u8 = b'o';
const EMITTED: u8 = b'e';
const WIDE: u8 = 255;

/// A row as the state has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Row {
    Open(Vec<Cell>),
    Emitted(Vec<Emitted>),
}

impl Row {
    pub(super) fn sensors(&self) -> Vec<SensorId> {
        match self {
            Self::Open(cells) => cells.iter().map(|cell| cell.sensor).collect(),
            Self::Emitted(cells) => cells.iter().map(|cell| cell.sensor).collect(),
        }
    }
}

/// Everything that the state holds, rows by tick and rig.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) sensors: Vec<(SensorId, String)>,
    pub(super) rows: Vec<(String, Timestamp, Row)>,
}

pub(super) fn sensor_key(id: SensorId) -> Vec<u8> {
    let mut key = vec![SENSOR];
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

pub(super) fn row_key(rig_id: &str, tick: Timestamp) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + rig_id.len());
    key.push(ROW);
    key.extend_from_slice(&tick.nanos().to_be_bytes());
    key.extend_from_slice(rig_id.as_bytes());
    key
}

pub(super) fn encode(kept: &Kept) -> Vec<u8> {
    match kept {
        Kept::Open(row) => {
            let mut value = Vec::with_capacity(1 + 17 * row.cells.len());
            value.push(OPEN);
            for cell in &row.cells {
                put_sensor(cell.sensor, &mut value);
                value.extend_from_slice(&cell.time.nanos().to_be_bytes());
                value.extend_from_slice(&cell.value.to_bits().to_be_bytes());
            }
            value
        }
        Kept::Emitted(cells) => {
            let mut value = Vec::with_capacity(1 + 5 * cells.len());
            value.push(EMITTED);
            for cell in cells {
                put_sensor(cell.sensor, &mut value);
                value.extend_from_slice(&cell.print.to_be_bytes());
            }
            value
        }
    }
}

/// Reads all entries; the keys of those that make no sense go to `unreadable`.
pub(super) fn decode(entries: queue::State, unreadable: &mut Vec<Vec<u8>>) -> Loaded {
    let mut loaded = Loaded::default();
    for (key, value) in entries {
        let read = match key.first() {
            Some(&SENSOR) => read_sensor(&key, &value).map(|sensor| loaded.sensors.push(sensor)),
            Some(&ROW) => read_row(&key, &value).map(|row| loaded.rows.push(row)),
            _ => None,
        };
        if read.is_none() {
            tracing::error!(key = %key.escape_ascii(), "an entry of the state makes no sense");
            unreadable.push(key);
        }
    }
    loaded.rows.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    loaded
}

fn read_sensor(key: &[u8], value: &[u8]) -> Option<(SensorId, String)> {
    let id = u32::from_be_bytes(key.get(1..)?.try_into().ok()?);
    Some((SensorId(id), String::from_utf8(value.to_vec()).ok()?))
}

fn read_row(key: &[u8], value: &[u8]) -> Option<(String, Timestamp, Row)> {
    let (tick, rig_id) = key.get(1..)?.split_first_chunk::<8>()?;
    let tick = Timestamp::from_nanos(i64::from_be_bytes(*tick));
    let rig_id = String::from_utf8(rig_id.to_vec()).ok()?;
    let (kind, mut rest) = value.split_first()?;
    let row = match *kind {
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
            Row::Open(cells)
        }
        EMITTED => {
            let mut cells = Vec::new();
            while !rest.is_empty() {
                let sensor = take_sensor(&mut rest)?;
                let print = u32::from_be_bytes(take_bytes(&mut rest)?);
                cells.push(Emitted { sensor, print });
            }
            Row::Emitted(cells)
        }
        _ => return None,
    };
    Some((rig_id, tick, row))
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
