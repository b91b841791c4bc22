//! Reads the points of a series from one time window to the next.
//!
//! The server reads all points of a window even if a query limits their number, so a page isn't asked from the
//! whole time range. The first window is short, and the next ones grow until they have enough points.

use model::name::Name;
use model::sample::{Tags, Value};

use super::page::PageRows;
use super::query::Predicate;
use super::tables::{Collect, Table};
use crate::ReadError;
use crate::history::Order;

/// The length of the first window, in nanoseconds.
const FIRST_WINDOW: i64 = 60_000_000_000;
/// How much longer a window may be than the one before.
const GROWTH: i64 = 8;

/// A series, and what is read of it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) tags: Tags<'static>,
    /// Its selected fields, ordered; at least one.
    pub(super) fields: Vec<Name<'static>>,
    /// Values of it that aren't strings; `None` if it has no such fields.
    pub(super) others: Option<Predicate>,
    /// Its strings; `None` if it has no such fields.
    pub(super) texts: Option<Predicate>,
    /// The first tick of the fields in the time range.
    pub(super) first: i64,
    /// The last one.
    pub(super) last: i64,
}

/// A time window: its first tick, and the first one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The windows of a time range, one after the other.
#[derive(Debug)]
pub(super) struct Windows {
    order: Order,
    from: i64,
    to: i64,
    length: i64,
}

impl Windows {
    /// Windows from `first` to `last`, both included.
    pub(super) fn new(order: Order, first: i64, last: i64) -> Self {
        Self {
            order,
            from: first,
            to: last.saturating_add(1),
            length: FIRST_WINDOW,
        }
    }

    /// The next window; `None` at the end of the range.
    pub(super) fn next(&self) -> Option<Window> {
        let Self { from, to, .. } = *self;
        (from < to).then(|| match self.order {
            Order::OldestFirst => Window {
                from,
                to: to.min(from.saturating_add(self.length)),
            },
            Order::NewestFirst => Window {
                from: from.max(to.saturating_sub(self.length)),
                to,
            },
        })
    }

    /// Goes on behind a window of which everything was read.
    pub(super) fn pass(&mut self, window: Window) {
        match self.order {
            Order::OldestFirst => self.from = window.to,
            Order::NewestFirst => self.to = window.from,
        }
        self.length = self.length.saturating_mul(GROWTH);
    }

    /// Goes on at a tick inside of a window, which had more points than were asked for.
    pub(super) fn resume(&mut self, window: Window, tick: i64) {
        self.length = tick.saturating_sub(window.from).max(1).saturating_mul(2);
        self.from = tick;
    }
}

/// Which points of a response are of the source, and of which of its fields.
#[derive(Debug)]
struct Place<'a> {
    source: &'a Source,
    /// The index of the current table's field.
    field: Option<usize>,
    /// Points of the current table.
    count: usize,
    /// Its first tick.
    first: i64,
    /// Most points of a table.
    limit: usize,
}

impl<'a> Place<'a> {
    fn new(source: &'a Source, limit: usize) -> Self {
        Self {
            source,
            field: None,
            count: 0,
            first: 0,
            limit,
        }
    }

    fn table(&mut self, table: &Table) {
        let field = self.source.fields.binary_search(&table.field);
        // A series with more tags may have come meanwhile.
        self.field = field.ok().filter(|_| table.tags == self.source.tags);
        self.count = 0;
    }

    /// The index of the field, if the point is of the source.
    fn point(&mut self, tick: i64) -> Option<usize> {
        if self.count == 0 {
            self.first = tick;
        }
        self.count += 1;
        self.field
    }

    /// Whether the current table may have more points than were asked for.
    fn is_cut(&self) -> bool {
        self.field.is_some() && self.count >= self.limit
    }
}

/// Collects a page.
pub(super) struct PageScan<'a> {
    place: Place<'a>,
    order: Order,
    pub(super) rows: PageRows,
}

impl<'a> PageScan<'a> {
    /// A page of at most `limit` rows, made of at most `points` points a table, which have to be 2 or more.
    pub(super) fn new(source: &'a Source, order: Order, limit: usize, points: usize) -> Self {
        Self {
            place: Place::new(source, points),
            order,
            rows: PageRows::new(order, limit),
        }
    }
}

impl Collect for PageScan<'_> {
    fn table(&mut self, table: &Table) {
        self.place.table(table);
    }

    fn point(&mut self, tick: i64, value: Value) -> Result<(), ReadError> {
        if let Some(field) = self.place.point(tick) {
            self.rows.add(tick, field, value);
        }
        if self.place.is_cut() {
            // The points of a table are always in order of time.
            self.rows.end_before(match self.order {
                Order::OldestFirst => tick,
                Order::NewestFirst => self.place.first,
            });
        }
        Ok(())
    }
}

/// Collects the numbers of all windows.
pub(super) struct NumberScan<'a, F> {
    place: Place<'a>,
    /// The last tick that was handed over, by field.
    done: Vec<Option<i64>>,
    /// The first tick that a table doesn't have any more, because it had too many points.
    pub(super) resume: Option<i64>,
    take: F,
}

impl<'a, F: FnMut(usize, i64, f64) -> Result<(), ReadError> + Send> NumberScan<'a, F> {
    /// Hands over each number with its tick and the index of its field.
    pub(super) fn new(source: &'a Source, points: usize, take: F) -> Self {
        Self {
            place: Place::new(source, points),
            done: vec![None; source.fields.len()],
            resume: None,
            take,
        }
    }
}

impl<F: FnMut(usize, i64, f64) -> Result<(), ReadError> + Send> Collect for NumberScan<'_, F> {
    fn table(&mut self, table: &Table) {
        self.place.table(table);
    }

    fn point(&mut self, tick: i64, value: Value) -> Result<(), ReadError> {
        let Some(field) = self.place.point(tick) else {
            return Ok(());
        };
        if self.place.is_cut() {
            let next = tick.saturating_add(1);
            self.resume = Some(self.resume.map_or(next, |resume| resume.min(next)));
        }
        // Where another field had too many points, this one is read a second time.
        let done = &mut self.done[field];
        if done.is_some_and(|done| tick <= done) {
            return Ok(());
        }
        *done = Some(tick);
        match value.as_number() {
            Some(number) => (self.take)(field, tick, number),
            None => Ok(()),
        }
    }
}
