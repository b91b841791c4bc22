//! The state of windows as entries of the queue.
//!
//! The readings of a window are in chunks: a commit writes one for each window that got readings, with just
//! these, and never an older one again. So what a commit writes is proportional to what it took, however
//! large the windows are.
//!
//! | entry | key | value |
//! | --- | --- | --- |
//! | chunk | `w`, length (8 bytes), start (8), series, its number (4) | newest time of the series (8), fields |
//! | emitted window | `e`, length (8), start (8), series | how many of its readings are in rows (8) |
//! | series | `f`, series | its windows that end before this time were let go (8) |
//!
//! A field is: length of its name (2), name, `f` or `t`, number of readings (4), readings. A reading of
//! `f` is its time (8) and a float (8), one of `t` its time (8) and a value with its type (see
//! `value_bytes.rs`). Numbers are big-endian, times nanoseconds since 1970, lengths nanoseconds.
//!
//! The length of windows is part of the key: when it is changed, a commit deletes the windows of the old
//! length and may write ones of the new length that start at the same time.

use std::time::Duration;

use model::{Layout, Name, Timestamp, Value};

use super::held::Window;
use crate::value_bytes::{put_value, take_bytes, take_float, take_value};

const CHUNK: u8 = b'w';
const MARK: u8 = b'e';
const FLOOR: u8 = b'f';
const FLOATS: u8 = b'f';
const TYPED: u8 = b't';

/// What the keys of entries of windows start with.
pub(crate) const PREFIXES: [u8; 3] = [CHUNK, MARK, FLOOR];

/// Identifies a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) every: Duration,
    pub(super) start: Timestamp,
    pub(super) series: String,
}

/// An entry of the state.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    Chunk {
        place: Place,
        number: u32,
        newest: Timestamp,
        fields: Vec<StoredField>,
    },
    Mark {
        place: Place,
        in_rows: usize,
    },
    Floor {
        series: String,
        floor: Timestamp,
    },
}

/// The readings of one field in a chunk.
pub(super) type StoredField = (Name<'static>, Vec<(Timestamp, Value)>);

pub(super) fn chunk_key(window: &Window, number: u32) -> Vec<u8> {
    let mut key = window_key(CHUNK, window);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn mark_key(window: &Window) -> Vec<u8> {
    window_key(MARK, window)
}

pub(super) fn mark(window: &Window) -> Vec<u8> {
    (window.in_rows as u64).to_be_bytes().to_vec()
}

pub(super) fn floor_key(series: &str) -> Vec<u8> {
    let mut key = vec![FLOOR];
    key.extend_from_slice(series.as_bytes());
    key
}

pub(super) fn floor(floor: Timestamp) -> Vec<u8> {
    floor.nanos().to_be_bytes().to_vec()
}

/// A chunk without fields yet.
pub(super) fn chunk(newest: Timestamp) -> Vec<u8> {
    newest.nanos().to_be_bytes().to_vec()
}

/// Appends the readings of a field to a chunk.
pub(super) fn put_field<'a>(
    name: &str,
    readings: impl ExactSizeIterator<Item = (Timestamp, &'a Value)> + Clone,
    out: &mut Vec<u8>,
) {
    // A name has at most 256 bytes, and a commit takes far fewer than four billion readings.
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    let count = u32::try_from(readings.len()).unwrap_or(u32::MAX);
    let typed = readings
        .clone()
        .any(|(_, value)| !matches!(value, Value::Float(_)));
    out.reserve(7 + name.len() + 17 * readings.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(name.as_bytes());
    out.push(if typed { TYPED } else { FLOATS });
    out.extend_from_slice(&count.to_be_bytes());
    for (time, value) in readings {
        out.extend_from_slice(&time.nanos().to_be_bytes());
        match value {
            Value::Float(number) if !typed => {
                out.extend_from_slice(&number.to_bits().to_be_bytes());
            }
            _ => put_value(value, out),
        }
    }
}

/// Reads an entry; none if it isn't one.
pub(super) fn decode(layout: Layout, key: &[u8], value: &[u8]) -> Option<Entry> {
    let (kind, key) = key.split_first()?;
    match *kind {
        CHUNK => {
            let (key, number) = key.split_last_chunk::<4>()?;
            let place = place(layout, key)?;
            let (newest, fields) = read_chunk(value)?;
            Some(Entry::Chunk {
                place,
                number: u32::from_be_bytes(*number),
                newest,
                fields,
            })
        }
        MARK => {
            let in_rows = u64::from_be_bytes(value.try_into().ok()?);
            Some(Entry::Mark {
                place: place(layout, key)?,
                in_rows: usize::try_from(in_rows).ok()?,
            })
        }
        FLOOR => Some(Entry::Floor {
            series: series(layout, key)?,
            floor: Timestamp::from_nanos(i64::from_be_bytes(value.try_into().ok()?)),
        }),
        _ => None,
    }
}

fn window_key(kind: u8, window: &Window) -> Vec<u8> {
    let every = u64::try_from(window.every.as_nanos()).unwrap_or(u64::MAX);
    let mut key = Vec::with_capacity(21 + window.series.len());
    key.push(kind);
    key.extend_from_slice(&every.to_be_bytes());
    key.extend_from_slice(&window.start.nanos().to_be_bytes());
    key.extend_from_slice(window.series.as_bytes());
    key
}

fn place(layout: Layout, mut key: &[u8]) -> Option<Place> {
    Some(Place {
        every: Duration::from_nanos(u64::from_be_bytes(take_bytes(&mut key)?)),
        start: take_time(&mut key)?,
        series: series(layout, key)?,
    })
}

fn series(layout: Layout, key: &[u8]) -> Option<String> {
    let series = String::from_utf8(key.to_vec()).ok()?;
    layout.tags(&series).ok()?;
    Some(series)
}

fn read_chunk(mut rest: &[u8]) -> Option<(Timestamp, Vec<StoredField>)> {
    let newest = take_time(&mut rest)?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        fields.push(take_field(&mut rest)?);
    }
    Some((newest, fields))
}

fn take_field(rest: &mut &[u8]) -> Option<StoredField> {
    let length = u16::from_be_bytes(take_bytes(rest)?);
    let (name, left) = rest.split_at_checked(usize::from(length))?;
    *rest = left;
    let name = Name::new(String::from_utf8(name.to_vec()).ok()?).ok()?;
    let [kind] = take_bytes(rest)?;
    let count = u32::from_be_bytes(take_bytes(rest)?);
    let mut readings = Vec::new();
    for _ in 0..count {
        let time = take_time(rest)?;
        let value = match kind {
            FLOATS => Value::Float(take_float(rest)?),
            TYPED => take_value(rest)?,
            _ => return None,
        };
        readings.push((time, value));
    }
    Some((name, readings))
}

fn take_time(rest: &mut &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_nanos(i64::from_be_bytes(take_bytes(rest)?)))
}
