//! What stores without a schema of their own check before they write.

use std::collections::BTreeMap;

use model::row::Row;

use crate::field_type::FieldType;
use crate::{RowsAtFault, WriteError};

/// The fields of rows that aren't known, with the type of their first value. Fails if a value isn't of its field's
/// type.
pub(crate) fn new_fields<'a>(
    rows: &'a [Row<'_>],
    known: impl Fn(&str) -> Option<FieldType>,
) -> Result<BTreeMap<&'a str, FieldType>, WriteError> {
    let mut new = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        for (name, value) in &row.fields {
            let (name, kind) = (name.as_str(), FieldType::of(value));
            let first = match known(name) {
                Some(first) => first,
                None => *new.entry(name).or_insert(kind),
            };
            if first != kind {
                let problem =
                    format!("its field {name:?} is {kind}, but already exists as type {first}");
                return Err(rejected(index, rows.len(), &problem));
            }
        }
    }
    Ok(new)
}

/// The row with this index is at fault.
pub(crate) fn rejected(index: usize, count: usize, problem: &str) -> WriteError {
    WriteError::Rejected {
        detail: format!("row {} of {count}: {problem}", index + 1),
        at_fault: RowsAtFault::Some,
    }
}
