//! The rows of a batch of elements.

use std::borrow::Cow;

use common::guard::guarded;
use model::dead_letter::{Reason, Rejection};
use model::{Layout, Row};

/// The rows of a batch, and the elements that aren't rows.
pub(crate) struct DecodedBatch<'a> {
    pub(crate) rows: Vec<Row<'a>>,
    /// The index of each row's element.
    pub(crate) places: Vec<usize>,
    /// Indexes of elements that aren't rows, with their rejections.
    pub(crate) rejections: Vec<(usize, Rejection)>,
    /// Indexes of rows that are for some stores only, with the names of these.
    only: Vec<(usize, Vec<String>)>,
    /// The number of elements.
    pub(crate) len: usize,
}

/// The rows that one store gets, and the indexes of their elements.
pub(crate) struct RowsOfStore<'b, 'a> {
    pub(crate) rows: Cow<'b, [Row<'a>]>,
    pub(crate) places: Cow<'b, [usize]>,
}

impl<'a> DecodedBatch<'a> {
    /// Decodes elements for stores with these names.
    pub(crate) fn decode(layout: Layout, items: &'a [Vec<u8>], stores: &[&str]) -> Self {
        let mut batch = Self {
            rows: Vec::with_capacity(items.len()),
            places: Vec::with_capacity(items.len()),
            rejections: Vec::new(),
            only: Vec::new(),
            len: items.len(),
        };
        for (place, item) in items.iter().enumerate() {
            let decode = || Ok((layout.decode_row(item)?, layout.stores(item)?));
            let rejection = match guarded(decode) {
                Ok(Ok((row, only))) => match only.iter().find(|name| !stores.contains(&&***name)) {
                    None => {
                        batch.push(row, place, only);
                        continue;
                    }
                    Some(other) => Rejection::new(
                        Reason::BadElement,
                        format_args!(
                            "it is for the store {other:?}, which the pipeline doesn't have"
                        ),
                    ),
                },
                Ok(Err(error)) => {
                    let error: model::ElementError = error;
                    Rejection::new(Reason::BadElement, error)
                }
                Err(panic) => Rejection::new(Reason::Poison, panic),
            };
            batch.rejections.push((place, rejection));
        }
        batch
    }

    fn push(&mut self, row: Row<'a>, place: usize, only: Vec<String>) {
        if !only.is_empty() {
            self.only.push((self.rows.len(), only));
        }
        self.rows.push(row);
        self.places.push(place);
    }

    /// The rows of the element `from` and of later ones that the store with this name gets.
    pub(crate) fn rows_of_store(&self, name: &str, from: usize) -> RowsOfStore<'_, 'a> {
        let start = self.places.partition_point(|place| *place < from);
        if self.only.is_empty() {
            return RowsOfStore {
                rows: Cow::Borrowed(&self.rows[start..]),
                places: Cow::Borrowed(&self.places[start..]),
            };
        }
        let is_for_other = |index: usize| {
            let found = self.only.binary_search_by_key(&index, |(index, _)| *index);
            found.is_ok_and(|found| self.only[found].1.iter().all(|other| other != name))
        };
        let indexes: Vec<_> = (start..self.rows.len())
            .filter(|index| !is_for_other(*index))
            .collect();
        RowsOfStore {
            rows: indexes
                .iter()
                .map(|index| self.rows[*index].clone())
                .collect(),
            places: indexes.iter().map(|index| self.places[*index]).collect(),
        }
    }

    /// The row of an element, if it is one.
    pub(crate) fn row_of(&self, place: usize) -> Option<&Row<'a>> {
        let index = self.places.binary_search(&place).ok()?;
        self.rows.get(index)
    }
}

#[cfg(test)]
mod tests {
    use model::{Layout, Name, Row, Timestamp};

    use super::DecodedBatch;

    fn element(second: i64, stores: &[&str]) -> Vec<u8> {
        let row = Row {
            tags: vec![(Name::new("a").unwrap(), Name::new("b").unwrap())],
            timestamp: Timestamp::from_millis(second * 1_000),
            fields: vec![(Name::new("x").unwrap(), 1.5.into())],
        };
        let stores: Vec<_> = stores.iter().map(|name| (*name).to_owned()).collect();
        let mut element = Vec::new();
        Layout::Tagged.encode_row_for(&row, &stores, &mut element);
        element
    }

    #[test]
    fn stores_get_the_rows_that_are_for_them() {
        let items = [
            element(0, &[]),
            b"{".to_vec(),
            element(2, &["b"]),
            element(3, &["a", "b"]),
            element(4, &["c"]),
            element(5, &[]),
        ];
        let batch = DecodedBatch::decode(Layout::Tagged, &items, &["a", "b"]);
        let places = |name, from| batch.rows_of_store(name, from).places.into_owned();
        assert_eq!(places("a", 0), [0, 3, 5]);
        assert_eq!(places("b", 0), [0, 2, 3, 5]);
        assert_eq!(places("b", 1), [2, 3, 5]);
        assert_eq!(places("a", 4), [5]);
        assert_eq!(places("a", 6), [0_usize; 0]);
        let of_a = batch.rows_of_store("a", 3);
        assert_eq!(of_a.rows[0].timestamp, Timestamp::from_millis(3_000));
        let rejected: Vec<_> = batch.rejections.iter().map(|(place, _)| *place).collect();
        assert_eq!(rejected, [1, 4]);
        let detail = &batch.rejections[1].1.detail;
        assert!(detail.contains("\"c\""), "{detail}");
        assert!(batch.row_of(4).is_none() && batch.row_of(5).is_some());
    }

    #[test]
    fn without_rows_for_some_stores_nothing_is_copied() {
        let items = [element(0, &[]), element(1, &[])];
        let batch = DecodedBatch::decode(Layout::Tagged, &items, &["a"]);
        let rows = batch.rows_of_store("a", 1).rows;
        assert!(matches!(rows, std::borrow::Cow::Borrowed([_])), "{rows:?}");
    }
}
