//! Rows as the shapes' tests compare them.

use model::{Layout, Timestamp, Value};

use crate::shape::Changes;

/// A row: the value of its first tag, its time, and its fields in the order of their names.
pub(crate) type Emission = (String, Timestamp, Vec<(String, Value)>);

/// The rows of a step.
pub(crate) fn emissions(layout: Layout, changes: &Changes) -> Vec<Emission> {
    let read = |element: &Vec<u8>| {
        let row = layout.decode_row(element).unwrap();
        let fields = row.fields.into_iter();
        let mut fields: Vec<_> = fields
            .map(|(name, value)| (name.to_string(), value))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        (row.tags[0].1.to_string(), row.timestamp, fields)
    };
    changes.rows.iter().map(read).collect()
}
