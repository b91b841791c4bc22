//! Fields by number, so that rows in memory and in the state don't carry names.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use model::{Layout, Name, Timestamp};

use super::Inconsistent;
use super::rows::{Cell, FieldId};
use super::state::{self, StoredRow};

#[derive(Debug, Clone)]
struct Field {
    name: Name<'static>,
    expected: bool,
    /// Its name is in the state, or will be with this step's commit.
    stored: bool,
    /// Cells of this field in the rows that are held.
    cells: usize,
    /// When its last reading arrived, since the lease was taken.
    last_arrival: Duration,
}

/// The names of all fields in use, by number.
#[derive(Debug, Default)]
pub(super) struct Fields {
    slots: Vec<Option<Field>>,
    ids: HashMap<Name<'static>, FieldId>,
    expected: usize,
    /// Numbers without a field.
    free: Vec<FieldId>,
    /// Numbers whose deletion this step commits. They become free with the next step: a commit must
    /// not write a key that it also deletes.
    released: Vec<FieldId>,
    /// When to check whether a field is idle. Its last arrival decides, so an entry may be early.
    timers: BinaryHeap<Reverse<(Duration, FieldId)>>,
}

impl Fields {
    /// Restores the `known` numbers. The numbers of fields that are neither expected nor in `rows` are
    /// returned: their keys have to be deleted.
    pub(super) fn load(
        expected: &[Name<'static>],
        known: Vec<(FieldId, Name<'static>)>,
        rows: &[StoredRow],
        idle: Duration,
    ) -> Result<(Self, Vec<FieldId>), Inconsistent> {
        let used: HashSet<FieldId> = rows.iter().flat_map(StoredRow::fields).collect();
        let mut fields = Self {
            expected: expected.len(),
            ..Self::default()
        };
        for (id, name) in known {
            let place = id.0 as usize;
            if fields.slots.len() <= place {
                fields.slots.resize(place + 1, None);
            }
            let expected = expected.contains(&name);
            if used.contains(&id) || expected {
                fields.put(id, name, expected, Duration::ZERO, idle);
                fields.get_mut(id)?.stored = true;
            } else {
                fields.released.push(id);
            }
        }
        let unused = fields.released.clone();
        let is_gap = |id: &FieldId| {
            let slot = fields.slots.get(id.0 as usize);
            slot.is_some_and(Option::is_none) && !unused.contains(id)
        };
        let all = u32::try_from(fields.slots.len()).map_err(|_| Inconsistent::TOO_MANY_FIELDS)?;
        fields.free = (0..all).map(FieldId).filter(is_gap).collect();
        for name in expected {
            if !fields.ids.contains_key(name.as_str()) {
                let id = fields.unused_id()?;
                fields.put(id, name.clone(), true, Duration::ZERO, idle);
            }
        }
        Ok((fields, unused))
    }

    /// How many fields are in use.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// How many fields make a row complete.
    pub(super) const fn expected(&self) -> usize {
        self.expected
    }

    pub(super) fn is_expected(&self, id: FieldId) -> bool {
        self.get(id).is_some_and(|field| field.expected)
    }

    pub(super) fn id(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    pub(super) fn name(&self, id: FieldId) -> Result<&str, Inconsistent> {
        let field = self.get(id).ok_or(Inconsistent::NO_FIELD)?;
        Ok(field.name.as_str())
    }

    /// Gives a number to a field that has none.
    pub(super) fn insert(
        &mut self,
        name: Name<'static>,
        now: Duration,
        idle: Duration,
    ) -> Result<FieldId, Inconsistent> {
        let id = self.unused_id()?;
        self.put(id, name, false, now, idle);
        Ok(id)
    }

    /// Records that a reading of the field arrived. The field's name goes to `puts` when it is used for
    /// the first time.
    pub(super) fn record_arrival(
        &mut self,
        id: FieldId,
        now: Duration,
        puts: &mut Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), Inconsistent> {
        let field = self.get_mut(id)?;
        field.last_arrival = now;
        if !field.stored {
            field.stored = true;
            puts.push((state::field_key(id), field.name.as_bytes().to_vec()));
        }
        Ok(())
    }

    /// Counts a cell of the field in a row that is held.
    pub(super) fn add_cell(&mut self, id: FieldId) -> Result<(), Inconsistent> {
        self.get_mut(id)?.cells += 1;
        Ok(())
    }

    /// A cell's row is no longer held.
    pub(super) fn remove_cell(&mut self, id: FieldId) -> Result<(), Inconsistent> {
        let field = self.get_mut(id)?;
        let left = field.cells.checked_sub(1);
        field.cells = left.ok_or(Inconsistent::NO_CELL)?;
        Ok(())
    }

    /// Releases the numbers of fields without a reading for `idle` and without a row that is held;
    /// expected fields keep theirs. Rows that were emitted aren't affected.
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
            let field = self.get(id).ok_or(Inconsistent::NO_FIELD)?;
            let due = field.last_arrival + idle;
            if due > now || field.cells > 0 {
                // The rows of a series are held for up to `idle` longer than its last reading.
                let next = if due > now { due } else { now + idle };
                self.timers.push(Reverse((next, id)));
                continue;
            }
            if field.stored {
                deletes.push(state::field_key(id));
            }
            if let Some(field) = self.slots[id.0 as usize].take() {
                self.ids.remove(field.name.as_str());
            }
            self.released.push(id);
        }
        Ok(())
    }

    /// Forgets all fields and deletes their keys; no row may be held.
    pub(super) fn forget_all(&mut self, deletes: &mut Vec<Vec<u8>>) {
        let stored = self.ids.values().filter(|id| {
            let field = self.get(**id);
            field.is_some_and(|field| field.stored)
        });
        deletes.extend(stored.map(|id| state::field_key(*id)));
        *self = Self::default();
    }

    /// Ends a step: what it released can be used by the next one.
    pub(super) fn finish(&mut self) {
        self.free.append(&mut self.released);
    }

    /// The element of a row with these cells.
    pub(super) fn encode_row(
        &self,
        layout: Layout,
        series: &str,
        tick: Timestamp,
        cells: &[Cell],
    ) -> Result<Vec<u8>, Inconsistent> {
        if cells.iter().any(|cell| self.get(cell.field).is_none()) {
            return Err(Inconsistent::NO_FIELD);
        }
        let mut element = Vec::with_capacity(64 + series.len() + 24 * cells.len());
        let fields = cells.iter().filter_map(|cell| {
            let field = self.get(cell.field)?;
            Some((field.name.as_str(), &cell.value))
        });
        layout.encode_row_of(series, tick, fields, &mut element);
        Ok(element)
    }

    fn get(&self, id: FieldId) -> Option<&Field> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, id: FieldId) -> Result<&mut Field, Inconsistent> {
        let slot = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut);
        slot.ok_or(Inconsistent::NO_FIELD)
    }

    /// A number that no field has, with its slot.
    fn unused_id(&mut self) -> Result<FieldId, Inconsistent> {
        if let Some(id) = self.free.pop() {
            return Ok(id);
        }
        let id = u32::try_from(self.slots.len()).map_err(|_| Inconsistent::TOO_MANY_FIELDS)?;
        self.slots.push(None);
        Ok(FieldId(id))
    }

    fn put(
        &mut self,
        id: FieldId,
        name: Name<'static>,
        expected: bool,
        now: Duration,
        idle: Duration,
    ) {
        self.ids.insert(name.clone(), id);
        if !expected {
            self.timers.push(Reverse((now + idle, id)));
        }
        self.slots[id.0 as usize] = Some(Field {
            name,
            expected,
            stored: false,
            cells: 0,
            last_arrival: now,
        });
    }
}
