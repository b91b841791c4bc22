//! The pivot's state as entries of the queue: a field's name, or a row.
//!
//! One entry per row rather than one per series: a commit then writes only the rows that it changed
//! (see docs/adr/0002-state-per-row.md).
//!
//! | entry | key | value |
//! | --- | --- | --- |
//! | field | `s`, number (4 bytes) | name |
//! | open row of floats | `r`, tick (8 bytes), series | `o`, then per cell: field, time (8), value (8) |
//! | other open row | `r`, tick (8 bytes), series | `t`, then per cell: field, time (8), type (1), value |
//! | emitted row | `r`, tick (8 bytes), series | `e`, then per cell: field, fingerprint (4) |
//!
//! Numbers are big-endian, times nanoseconds since 1970. A field is its number in one byte, or 255
//! and the number in four. A value of the type `f` or `i` has 8 bytes, of `b` 1, of `s` its length (4)
//! and its bytes.

use std::collections::HashSet;

use model::{Layout, Name, Timestamp, Value};

use super::rows::{Cell, EmittedCell, FieldId};
use crate::value_bytes::{put_value, take_bytes, take_float, take_value};

const SENSOR: u8 = b's';
const ROW: u8 = b'r';
const OPEN: u8 = b'o';
const TYPED: u8 = b't';
const EMITTED: u8 = b'e';
const WIDE: u8 = 255;

/// What the keys of the pivot's entries start with.
pub(crate) const PREFIXES: [u8; 2] = [SENSOR, ROW];

/// A row as the state has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredRow {
    pub(super) series: String,
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
    pub(super) fn fields(&self) -> Vec<FieldId> {
        match &self.cells {
            StoredCells::Open(cells) => cells.iter().map(|cell| cell.field).collect(),
            StoredCells::Emitted(cells) => cells.iter().map(|cell| cell.field).collect(),
        }
    }
}

/// Everything that the state holds, rows by tick and series.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) fields: Vec<(FieldId, Name<'static>)>,
    pub(super) rows: Vec<StoredRow>,
}

pub(super) fn field_key(id: FieldId) -> Vec<u8> {
    let mut key = vec![SENSOR];
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

pub(super) fn row_key(series: &str, tick: Timestamp) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + series.len());
    key.push(ROW);
    key.extend_from_slice(&tick.nanos().to_be_bytes());
    key.extend_from_slice(series.as_bytes());
    key
}

pub(super) fn encode_open(cells: &[Cell]) -> Vec<u8> {
    let is_typed = |cell: &Cell| !matches!(cell.value, Value::Float(_));
    let typed = cells.iter().any(is_typed);
    let mut value = Vec::with_capacity(1 + 18 * cells.len());
    value.push(if typed { TYPED } else { OPEN });
    for cell in cells {
        put_field(cell.field, &mut value);
        value.extend_from_slice(&cell.time.nanos().to_be_bytes());
        match cell.value {
            Value::Float(number) if !typed => {
                value.extend_from_slice(&number.to_bits().to_be_bytes());
            }
            _ => put_value(&cell.value, &mut value),
        }
    }
    value
}

pub(super) fn encode_emitted(cells: &[EmittedCell]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + 5 * cells.len());
    value.push(EMITTED);
    for cell in cells {
        put_field(cell.field, &mut value);
        value.extend_from_slice(&cell.fingerprint.to_be_bytes());
    }
    value
}

/// Decodes all entries. Entries that can't be decoded, and rows with a field whose name is
/// missing, are logged, and their keys go to `unreadable`.
pub(super) fn decode(
    layout: Layout,
    entries: queue::State,
    unreadable: &mut Vec<Vec<u8>>,
) -> Loaded {
    let mut loaded = Loaded::default();
    let mut refuse = |key: Vec<u8>| {
        tracing::error!(key = %key.escape_ascii(), "cannot read an entry of the state, deleting it");
        unreadable.push(key);
    };
    let mut rows = Vec::new();
    for (key, value) in entries {
        let read = match key.first() {
            Some(&SENSOR) => read_field(&key, &value).map(|field| loaded.fields.push(field)),
            Some(&ROW) => read_row(layout, &key, &value).map(|row| rows.push(row)),
            _ => None,
        };
        if read.is_none() {
            refuse(key);
        }
    }
    let named: HashSet<FieldId> = loaded.fields.iter().map(|(id, _)| *id).collect();
    for row in rows {
        if row.fields().iter().all(|id| named.contains(id)) {
            loaded.rows.push(row);
        } else {
            refuse(row_key(&row.series, row.tick));
        }
    }
    loaded
        .rows
        .sort_by(|a, b| (a.tick, &a.series).cmp(&(b.tick, &b.series)));
    loaded
}

fn read_field(key: &[u8], value: &[u8]) -> Option<(FieldId, Name<'static>)> {
    let id = u32::from_be_bytes(key.get(1..)?.try_into().ok()?);
    let name = String::from_utf8(value.to_vec()).ok()?;
    Some((FieldId(id), Name::new(name).ok()?))
}

fn read_row(layout: Layout, key: &[u8], value: &[u8]) -> Option<StoredRow> {
    let (tick, series) = key.get(1..)?.split_first_chunk::<8>()?;
    let tick = Timestamp::from_nanos(i64::from_be_bytes(*tick));
    let series = String::from_utf8(series.to_vec()).ok()?;
    layout.tags(&series).ok()?;
    let (kind, mut rest) = value.split_first()?;
    let cells = match *kind {
        kind @ (OPEN | TYPED) => {
            let mut cells = Vec::new();
            while !rest.is_empty() {
                let field = take_field(&mut rest)?;
                let time = Timestamp::from_nanos(i64::from_be_bytes(take_bytes(&mut rest)?));
                let value = if kind == TYPED {
                    take_value(&mut rest)?
                } else {
                    Value::Float(take_float(&mut rest)?)
                };
                cells.push(Cell { field, time, value });
            }
            StoredCells::Open(cells)
        }
        EMITTED => {
            let mut cells = Vec::new();
            while !rest.is_empty() {
                let field = take_field(&mut rest)?;
                let fingerprint = u32::from_be_bytes(take_bytes(&mut rest)?);
                cells.push(EmittedCell { field, fingerprint });
            }
            StoredCells::Emitted(cells)
        }
        _ => return None,
    };
    Some(StoredRow {
        series,
        tick,
        cells,
    })
}

fn put_field(id: FieldId, value: &mut Vec<u8>) {
    match u8::try_from(id.0) {
        Ok(short) if short < WIDE => value.push(short),
        _ => {
            value.push(WIDE);
            value.extend_from_slice(&id.0.to_be_bytes());
        }
    }
}

fn take_field(rest: &mut &[u8]) -> Option<FieldId> {
    let [short] = take_bytes(rest)?;
    if short < WIDE {
        return Some(FieldId(u32::from(short)));
    }
    Some(FieldId(u32::from_be_bytes(take_bytes(rest)?)))
}
