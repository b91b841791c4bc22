//! A page of rows, made of points that come field by field.

use std::collections::BTreeMap;

use model::name::Name;
use model::row::Row;
use model::sample::{Tags, Value};
use model::time::Timestamp;

use crate::history::{MAX_PAGE_TEXT, MAX_PAGE_VALUES, Order, Page};

impl Order {
    /// The place of a tick in this order: a smaller one is earlier in the page.
    const fn place(self, tick: i64) -> i64 {
        match self {
            Self::OldestFirst => tick,
            // Turns the order of all integers around, without an overflow.
            Self::NewestFirst => !tick,
        }
    }
}

/// The rows of a page so far. It keeps those rows only that the page can have, however many points come.
#[derive(Debug)]
pub(super) struct PageRows {
    order: Order,
    limit: usize,
    rows: BTreeMap<i64, Cells>,
    values: usize,
    /// Bytes of strings.
    text: usize,
    /// The place at which the page ends: there is a row that doesn't belong to it.
    end: Option<i64>,
}

/// A row: indexes of fields with their values.
#[derive(Debug, Default)]
struct Cells {
    values: Vec<(usize, Value)>,
    text: usize,
}

impl PageRows {
    pub(super) fn new(order: Order, limit: usize) -> Self {
        Self {
            order,
            limit,
            rows: BTreeMap::new(),
            values: 0,
            text: 0,
            end: None,
        }
    }

    /// Adds a value of the field with this index.
    pub(super) fn add(&mut self, tick: i64, field: usize, value: Value) {
        let place = self.order.place(tick);
        if self.end.is_some_and(|end| place >= end) {
            return;
        }
        let text = match &value {
            Value::String(text) => text.len(),
            _ => 0,
        };
        let cells = self.rows.entry(place).or_default();
        cells.values.push((field, value));
        cells.text += text;
        self.values += 1;
        self.text += text;
        self.shorten();
    }

    /// Ends the page before the row with this tick.
    pub(super) fn end_before(&mut self, tick: i64) {
        let place = self.order.place(tick);
        if self.end.is_none_or(|end| place < end) {
            self.end = Some(place);
            while self
                .rows
                .last_key_value()
                .is_some_and(|(at, _)| *at >= place)
            {
                self.pop();
            }
        }
    }

    /// Whether there are more rows than the page can have.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Removes rows for which the page is full without them.
    fn shorten(&mut self) {
        while let Some((place, last)) = self.rows.last_key_value() {
            let is_full = self.rows.len() > self.limit
                || self.values - last.values.len() >= MAX_PAGE_VALUES
                || self.text - last.text >= MAX_PAGE_TEXT;
            if !is_full {
                return;
            }
            self.end = Some(*place);
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, cells)) = self.rows.pop_last() {
            self.values -= cells.values.len();
            self.text -= cells.text;
        }
    }

    /// The page of a series with these tags and fields.
    pub(super) fn finish(self, tags: &Tags<'static>, fields: &[Name<'static>]) -> Page {
        let order = self.order;
        let rows = self.rows.into_iter().map(|(place, mut cells)| {
            cells.values.sort_by_key(|(field, _)| *field);
            let values = cells.values.into_iter();
            Row {
                tags: tags.clone(),
                timestamp: Timestamp::from_nanos(order.place(place)),
                fields: values
                    .map(|(field, value)| (fields[field].clone(), value))
                    .collect(),
            }
        });
        Page {
            rows: rows.collect(),
            next: self.end.map(|end| match order {
                Order::OldestFirst => Timestamp::from_nanos(end),
                // The end of the next range is the first tick after it.
                Order::NewestFirst => Timestamp::from_nanos(order.place(end).saturating_add(1)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::name::Name;
    use model::sample::{Tags, Value};
    use model::time::Timestamp;
    use proptest::prelude::*;

    use super::PageRows;
    use crate::history::Order;
    use crate::history::{MAX_PAGE_TEXT, MAX_PAGE_VALUES};

    fn names(count: usize) -> Vec<Name<'static>> {
        let names = (0..count).map(|number| Name::new(format!("f{number:03}")).unwrap());
        names.collect()
    }

    proptest! {
        #[test]
        fn page_has_the_first_rows_whatever_the_order_of_points(
            points in prop::collection::btree_set((0_usize..4, -20_i64..20), 0..80),
            limit in 1_usize..12,
            is_newest in any::<bool>(),
        ) {
            let order = if is_newest { Order::NewestFirst } else { Order::OldestFirst };
            let mut rows = PageRows::new(order, limit);
            let mut expected: BTreeMap<i64, Vec<String>> = BTreeMap::new();
            for (field, tick) in points {
                rows.add(tick, field, Value::Integer(tick));
                expected.entry(tick).or_default().push(format!("f{field:03}"));
            }
            let mut expected: Vec<_> = expected.into_iter().collect();
            if is_newest {
                expected.reverse();
            }
            let page = rows.finish(&Tags::new(), &names(4));
            let seen: Vec<_> = page.rows.iter().map(|row| {
                let fields = row.fields.iter().map(|(name, _)| name.to_string());
                (row.timestamp.nanos(), fields.collect::<Vec<_>>())
            }).collect();
            let next = expected.get(limit).map(|(tick, _)| tick + i64::from(is_newest));
            expected.truncate(limit);
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(page.next.map(Timestamp::nanos), next);
        }
    }

    #[test]
    fn page_of_wide_rows_ends_before_its_limit() {
        let fields = 150;
        let mut rows = PageRows::new(Order::OldestFirst, 10_000);
        for field in 0..fields {
            for tick in 0..2_000 {
                rows.add(tick, field, Value::Bool(true));
            }
        }
        let page = rows.finish(&Tags::new(), &names(fields));
        let full = MAX_PAGE_VALUES.div_ceil(fields);
        assert_eq!(page.rows.len(), full);
        assert_eq!(page.next.map(Timestamp::nanos), i64::try_from(full).ok());
    }

    #[test]
    fn page_has_one_row_however_long_its_strings_are() {
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let mut rows = PageRows::new(order, 10);
            for tick in 0..3 {
                for field in 0..2 {
                    rows.add(tick, field, Value::String("x".repeat(MAX_PAGE_TEXT)));
                }
            }
            let page = rows.finish(&Tags::new(), &names(2));
            assert_eq!((page.rows.len(), page.rows[0].fields.len()), (1, 2));
            let next = if order == Order::OldestFirst { 1 } else { 2 };
            assert_eq!(page.next, Some(Timestamp::from_nanos(next)));
        }
    }

    #[test]
    fn page_may_end_before_a_row_that_is_not_complete() {
        for (order, kept, next) in [
            (Order::OldestFirst, [1, 2], 3),
            (Order::NewestFirst, [5, 4], 4),
        ] {
            let mut rows = PageRows::new(order, 10);
            for tick in 1..6 {
                rows.add(tick, 0, Value::Bool(true));
            }
            rows.end_before(3);
            rows.end_before(if order == Order::OldestFirst { 4 } else { 2 });
            rows.add(3, 0, Value::Bool(true));
            assert!(rows.is_ended());
            let page = rows.finish(&Tags::new(), &names(1));
            let ticks: Vec<_> = page.rows.iter().map(|row| row.timestamp.nanos()).collect();
            assert_eq!(
                (ticks, page.next),
                (kept.to_vec(), Some(Timestamp::from_nanos(next)))
            );
        }
    }
}
