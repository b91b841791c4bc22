//! Rows in memory: open ones with their cells, emitted ones with the fingerprints of theirs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use model::{Timestamp, Value};

/// A field's number; the state keeps the name that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FieldId(pub(super) u32);

/// The first reading of a cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) field: FieldId,
    pub(super) time: Timestamp,
    pub(super) value: Value,
}

/// What is remembered of a cell that was emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EmittedCell {
    pub(super) field: FieldId,
    pub(super) fingerprint: u32,
}

impl EmittedCell {
    pub(super) fn of(cell: &Cell) -> Self {
        Self {
            field: cell.field,
            fingerprint: fingerprint(cell),
        }
    }
}

/// Timers of rows that aren't open any more, above which they are removed: a few pages.
const SPARE_TIMERS: usize = 1_024;

/// A row that waits for more readings.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OpenRow {
    pub(super) key: Arc<str>,
    pub(super) tick: Timestamp,
    pub(super) cells: Vec<Cell>,
    /// How many expected fields it waits for.
    pub(super) missing: usize,
    /// When its last reading arrived, since the lease was taken.
    pub(super) last_arrival: Duration,
}

impl OpenRow {
    pub(super) fn new(key: &Arc<str>, tick: Timestamp, missing: usize, now: Duration) -> Self {
        Self {
            key: Arc::clone(key),
            tick,
            cells: Vec::with_capacity(missing),
            missing,
            last_arrival: now,
        }
    }

    pub(super) fn cell(&self, field: FieldId) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.field == field)
    }

    pub(super) fn push(&mut self, cell: Cell, expected: bool) {
        self.cells.push(cell);
        self.missing -= usize::from(expected);
    }
}

/// All open rows, in the order in which they were opened, with their timers.
#[derive(Debug, Default)]
pub(super) struct OpenRows {
    rows: BTreeMap<u64, OpenRow>,
    next_order: u64,
    /// When to check whether a row has waited long enough. The row's last arrival decides, so an
    /// entry may be early.
    timers: BinaryHeap<Reverse<(Duration, u64)>>,
}

impl OpenRows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a row that is due then; returns its place in the order of opening.
    pub(super) fn insert(&mut self, row: OpenRow, due: Duration) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        self.rows.insert(order, row);
        self.set_timer(due, order);
        order
    }

    pub(super) fn get(&self, order: u64) -> Option<&OpenRow> {
        self.rows.get(&order)
    }

    pub(super) fn get_mut(&mut self, order: u64) -> Option<&mut OpenRow> {
        self.rows.get_mut(&order)
    }

    pub(super) fn remove(&mut self, order: u64) -> Option<OpenRow> {
        self.rows.remove(&order)
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.rows.keys().next().copied()
    }

    pub(super) fn next_timer(&self) -> Option<(Duration, u64)> {
        self.timers.peek().map(|Reverse(timer)| *timer)
    }

    pub(super) fn pop_timer(&mut self) {
        self.timers.pop();
    }

    pub(super) fn set_timer(&mut self, due: Duration, order: u64) {
        self.timers.push(Reverse((due, order)));
        // While there is a backlog no timer is popped, and almost all rows are emitted as complete.
        if self.timers.len() > 2 * self.rows.len() + SPARE_TIMERS {
            let rows = &self.rows;
            self.timers
                .retain(|Reverse((_, order))| rows.contains_key(order));
        }
    }
}

/// A row of a series, open or emitted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RowState {
    /// Its place in [`OpenRows`].
    Open(u64),
    /// The cells that were emitted.
    Emitted(Vec<EmittedCell>),
}

/// A row of a series, and what the stored state knows of it.
#[derive(Debug)]
pub(super) struct RowEntry {
    pub(super) state: RowState,
    /// Changed since it was last written.
    pub(super) dirty: bool,
    /// Written at least once, so that forgetting it has to be written, too.
    pub(super) stored: bool,
}

impl RowEntry {
    pub(super) const fn new(state: RowState) -> Self {
        Self {
            state,
            dirty: false,
            stored: false,
        }
    }

    /// Notes in `dirty`, once, that the row has to be written.
    pub(super) fn mark_dirty(
        &mut self,
        key: &Arc<str>,
        tick: Timestamp,
        dirty: &mut Vec<(Arc<str>, Timestamp)>,
    ) {
        if !self.dirty {
            self.dirty = true;
            dirty.push((Arc::clone(key), tick));
        }
    }
}

/// A fingerprint of a cell's time and value, by which a redelivery is recognised after the row was
/// emitted. It is part of the stored state and must not change. Two different readings have the
/// same fingerprint with a probability of one in four billion; such a reading is counted as repeated
/// instead of superseded, and nothing else is wrong.
fn fingerprint(cell: &Cell) -> u32 {
    let bits = match &cell.value {
        Value::Float(value) => value.to_bits(),
        Value::Integer(value) => mix(value.cast_unsigned() ^ INTEGER),
        Value::Bool(value) => mix(u64::from(*value) ^ BOOL),
        Value::String(value) => value.bytes().fold(STRING, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        }),
    };
    let mixed = mix(mix(cell.time.nanos().cast_unsigned()) ^ bits);
    (mixed >> 32) as u32
}

/// Keep the fingerprints of different types apart; that of strings is the offset of FNV-1a.
const INTEGER: u64 = 0x6a09_e667_f3bc_c908;
const BOOL: u64 = 0xbb67_ae85_84ca_a73b;
const STRING: u64 = 0xcbf2_9ce4_8422_2325;

/// The finalizer of splitmix64 (Steele, Lea and Flood 2014).
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use model::Timestamp;

    use super::{OpenRow, OpenRows, SPARE_TIMERS};

    #[test]
    fn timers_of_emitted_rows_do_not_accumulate_during_a_backlog() {
        let series: Arc<str> = "RIG-1".into();
        let mut rows = OpenRows::default();
        let open = |rows: &mut OpenRows| {
            let row = OpenRow::new(&series, Timestamp::from_nanos(0), 6, Duration::ZERO);
            rows.insert(row, Duration::from_secs(5))
        };
        let kept: Vec<u64> = (0..100).map(|_| open(&mut rows)).collect();
        for _ in 0..100_000 {
            let order = open(&mut rows);
            assert!(rows.remove(order).is_some());
        }
        assert!(rows.timers.len() <= 2 * rows.len() + SPARE_TIMERS + 1);
        // The timers of open rows are all there.
        let mut left = Vec::new();
        while let Some((_, order)) = rows.next_timer() {
            rows.pop_timer();
            left.extend(rows.get(order).map(|_| order));
        }
        assert_eq!(left, kept);
    }
}
