//! Rows that stores have refused.

use std::collections::BTreeMap;

use model::dead_letter::{Reason, Rejection};

/// The refused rows of a batch, by the indexes of their elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusals(BTreeMap<usize, Vec<(String, String)>>);

impl Refusals {
    /// Adds the row of an element that a store has refused, with the store's message.
    pub(crate) fn add(&mut self, place: usize, store: &str, detail: &str) {
        let of_row = self.0.entry(place).or_default();
        of_row.push((store.to_owned(), detail.to_owned()));
    }

    /// Whether a store has refused the row of this element.
    pub(crate) fn has(&self, place: usize) -> bool {
        self.0.contains_key(&place)
    }

    /// Elements with stores and their messages.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.0.iter().flat_map(|(place, of_row)| {
            let of_row = of_row.iter();
            of_row.map(|(store, detail)| (*place, store.as_str(), detail.as_str()))
        })
    }

    /// What the dead letters say, by the indexes of their elements. The only store of a pipeline isn't named.
    pub(crate) fn rejections(&self, is_single: bool) -> impl Iterator<Item = (usize, Rejection)> {
        self.0
            .iter()
            .map(move |(place, of_row)| (*place, rejection(of_row, is_single)))
    }
}

fn rejection(refusals: &[(String, String)], is_single: bool) -> Rejection {
    if is_single && let [(_, detail)] = refusals {
        return Rejection::new(Reason::StoreRejected, detail);
    }
    let details: Vec<_> = refusals
        .iter()
        .map(|(name, detail)| format!("{name}: {detail}"))
        .collect();
    let mut rejection = Rejection::new(Reason::StoreRejected, details.join("; "));
    rejection.stores = refusals.iter().map(|(name, _)| name.clone()).collect();
    rejection
}
