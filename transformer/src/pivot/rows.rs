//! Rows in memory: open ones with their cells, emitted ones with the prints of theirs.

use std::time::Duration;

use common::time::Timestamp;

/// A sensor's number; the state keeps the name that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SensorId(pub(super) u32);

/// The first reading of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub(super) sensor: SensorId,
    pub(super) time: Timestamp,
    pub(super) value: f64,
}

/// What is remembered of a cell that was emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Emitted {
    pub(super) sensor: SensorId,
    pub(super) print: u32,
}

/// A row that waits for more readings.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OpenRow {
    /// Its place in the order of opening.
    pub(super) order: u64,
    pub(super) cells: Vec<Cell>,
    /// How many expected sensors it waits for.
    pub(super) missing: usize,
    /// When its last reading arrived, since the lease was taken.
    pub(super) last_arrival: Duration,
}

/// A row in either state.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kept {
    Open(OpenRow),
    Emitted(Vec<Emitted>),
}

/// A row and what the stored state knows of it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) kept: Kept,
    /// Changed since it was last written.
    pub(super) dirty: bool,
    /// Written at least once, so that forgetting it has to be written, too.
    pub(super) stored: bool,
}

impl Seat {
    pub(super) const fn new(kept: Kept) -> Self {
        Self {
            kept,
            dirty: false,
            stored: false,
        }
    }
}

impl OpenRow {
    pub(super) fn new(order: u64, missing: usize, last_arrival: Duration) -> Self {
        Self {
            order,
            cells: Vec::with_capacity(missing),
            missing,
            last_arrival,
        }
    }

    pub(super) fn cell(&self, sensor: SensorId) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.sensor == sensor)
    }

    pub(super) fn push(&mut self, cell: Cell, expected: bool) {
        self.cells.push(cell);
        self.missing -= usize::from(expected);
    }
}

/// A print of a cell's time and value, by which a redelivery is known again after the row was
/// emitted. It is part of the stored state and must not change. Two different readings have the
/// same print once in four thousand million times; then one is counted as repeated instead of
/// superseded, and nothing else is wrong.
pub(super) fn print(cell: &Cell) -> u32 {
    let mixed = mix(mix(cell.time.nanos().cast_unsigned()) ^ cell.value.to_bits());
    (mixed >> 32) as u32
}

/// The finalizer of splitmix64 (Steele, Lea and Flood 2014).
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
