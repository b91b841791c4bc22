//! The windows that are held: their readings, and when their rows are due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use model::{Timestamp, Value};

use super::fields::{FieldId, Fields};
use super::readings::Readings;
use super::{Inconsistent, state};

/// Timers of windows that aren't open any more, above which they are removed: a few pages.
const SPARE_TIMERS: usize = 1_024;

/// A window's number, until the lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WindowId(u64);

/// A window of a series that has readings, and can still be corrected.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) series: Arc<str>,
    pub(super) start: Timestamp,
    pub(super) every: Duration,
    /// In the order of the fields' numbers.
    fields: Vec<(FieldId, Readings)>,
    /// How many readings it has.
    pub(super) readings: usize,
    /// How many of them its row had when it was last emitted; zero before it is.
    pub(super) in_rows: usize,
    /// When its row is to be emitted, since the lease was taken. Holds while it is open.
    pub(super) due: Duration,
    /// How many chunks of readings the state has.
    pub(super) chunks: u32,
    /// Whether the state says how many readings are in rows.
    pub(super) marked: bool,
}

impl Window {
    pub(super) const fn new(series: Arc<str>, start: Timestamp, every: Duration) -> Self {
        Self {
            series,
            start,
            every,
            fields: Vec::new(),
            readings: 0,
            in_rows: 0,
            due: Duration::ZERO,
            chunks: 0,
            marked: false,
        }
    }

    pub(super) fn end(&self) -> Timestamp {
        self.start.plus(self.every)
    }

    /// Whether it has readings that aren't in its row yet.
    pub(super) const fn is_open(&self) -> bool {
        self.readings > self.in_rows
    }

    pub(super) const fn is_emitted(&self) -> bool {
        self.in_rows > 0
    }

    /// How many fields have readings.
    pub(super) const fn width(&self) -> usize {
        self.fields.len()
    }

    pub(super) fn field(&self, field: FieldId) -> Option<&Readings> {
        let place = self.place(field).ok()?;
        self.fields.get(place).map(|(_, readings)| readings)
    }

    pub(super) fn fields_mut(&mut self) -> impl Iterator<Item = (FieldId, &mut Readings)> {
        let fields = self.fields.iter_mut();
        fields.map(|(field, readings)| (*field, readings))
    }

    /// Adds a reading. Its field's use is counted.
    pub(super) fn insert(
        &mut self,
        field: FieldId,
        time: Timestamp,
        value: &Value,
        fields: &mut Fields,
    ) -> Result<(), Inconsistent> {
        let place = match self.place(field) {
            Ok(place) => place,
            Err(place) => {
                fields.add_window(field)?;
                self.fields.insert(place, (field, Readings::default()));
                place
            }
        };
        self.fields[place].1.insert(time, value);
        self.readings += 1;
        Ok(())
    }

    /// Readings of this time arrived `now`: sets when the row is due. `was_open` is from before.
    pub(super) fn arrived(
        &mut self,
        time: Timestamp,
        now: Duration,
        grace: Duration,
        was_open: bool,
    ) {
        if !self.is_emitted() {
            // A device that sends a window's first readings late sends its last ones as late.
            self.due = self.due.max(now + self.end().since(time) + grace);
        } else if !was_open {
            // Further corrections don't put it off, or a steady trickle would put it off for ever.
            self.due = now + grace;
        }
    }

    /// Sets when the row of a window that was loaded is due, as if all its readings had arrived now.
    pub(super) fn loaded(&mut self, grace: Duration) {
        let earliest = self.fields.iter();
        let earliest = earliest
            .filter_map(|(_, readings)| readings.earliest())
            .min();
        if let Some(earliest) = earliest {
            self.arrived(earliest, Duration::ZERO, grace, false);
        }
    }

    /// Ends the use of its fields, and deletes its entries of the state.
    pub(super) fn forget(
        &self,
        fields: &mut Fields,
        deletes: &mut Vec<Vec<u8>>,
    ) -> Result<(), Inconsistent> {
        for (field, _) in &self.fields {
            fields.remove_window(*field)?;
        }
        deletes.extend((0..self.chunks).map(|chunk| state::chunk_key(self, chunk)));
        if self.marked {
            deletes.push(state::mark_key(self));
        }
        Ok(())
    }

    fn place(&self, field: FieldId) -> Result<usize, usize> {
        self.fields
            .binary_search_by_key(&field, |(field, _)| *field)
    }
}

/// All windows that are held, with the timers of those that are open.
#[derive(Debug, Default)]
pub(super) struct Held {
    windows: HashMap<WindowId, Window>,
    next: u64,
    /// How many are open.
    open: usize,
    /// When to check whether a window is due, once for each open one. The window decides, so an entry
    /// may be early; that of a window that was let go stays behind.
    timers: BinaryHeap<Reverse<(Duration, WindowId)>>,
}

impl Held {
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    pub(super) fn insert(&mut self, window: Window) -> WindowId {
        let id = WindowId(self.next);
        self.next += 1;
        self.windows.insert(id, window);
        id
    }

    pub(super) fn find(&self, id: WindowId) -> Option<&Window> {
        self.windows.get(&id)
    }

    pub(super) fn find_mut(&mut self, id: WindowId) -> Option<&mut Window> {
        self.windows.get_mut(&id)
    }

    pub(super) fn get(&self, id: WindowId) -> Result<&Window, Inconsistent> {
        self.find(id).ok_or(Inconsistent::NO_WINDOW)
    }

    pub(super) fn get_mut(&mut self, id: WindowId) -> Result<&mut Window, Inconsistent> {
        self.find_mut(id).ok_or(Inconsistent::NO_WINDOW)
    }

    pub(super) fn remove(&mut self, id: WindowId) -> Result<Window, Inconsistent> {
        let window = self.windows.remove(&id).ok_or(Inconsistent::NO_WINDOW)?;
        self.open -= usize::from(window.is_open());
        Ok(window)
    }

    /// A window has got readings that aren't in its row, after it had none.
    pub(super) fn opened(&mut self, id: WindowId, due: Duration) {
        self.open += 1;
        self.set_timer(due, id);
        // While there is a backlog no timer is popped, and all windows are let go in the end.
        if self.timers.len() > 2 * self.open + SPARE_TIMERS {
            let windows = &self.windows;
            self.timers
                .retain(|Reverse((_, id))| windows.contains_key(id));
        }
    }

    /// The row of a window was emitted with all of its readings.
    pub(super) const fn closed(&mut self) {
        self.open -= 1;
    }

    pub(super) fn next_timer(&self) -> Option<(Duration, WindowId)> {
        self.timers.peek().map(|Reverse(timer)| *timer)
    }

    pub(super) fn pop_timer(&mut self) {
        self.timers.pop();
    }

    pub(super) fn set_timer(&mut self, due: Duration, id: WindowId) {
        self.timers.push(Reverse((due, id)));
    }

    /// Removes all windows, in the order of time and series.
    pub(super) fn take_all(&mut self) -> Vec<Window> {
        let mut windows: Vec<Window> = std::mem::take(self).windows.into_values().collect();
        windows.sort_by(|a, b| (a.start, &a.series).cmp(&(b.start, &b.series)));
        windows
    }
}
