//! A row: the fields of one series at one time, the "horizontal" form.

use crate::name::Name;
use crate::sample::{Tags, Value};
use crate::time::Timestamp;

/// What a store keeps under one key: tags and a time that identify it, fields that it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// What identifies the series; a row of the pipeline `rigs` has the one tag `rig_id`.
    pub tags: Tags<'a>,
    /// The tick, or the start of the window.
    pub timestamp: Timestamp,
    /// Field names with their values, at least one, no name twice.
    pub fields: Vec<(Name<'a>, Value)>,
}

impl<'a> Row<'a> {
    /// A row of one rig with no fields yet.
    #[must_use]
    pub fn of_rig(rig_id: Name<'a>, timestamp: Timestamp) -> Self {
        Self {
            tags: vec![(Name::RIG_ID, rig_id)],
            timestamp,
            fields: Vec::with_capacity(6),
        }
    }

    /// The same row with storage of its own.
    #[must_use]
    pub fn into_owned(self) -> Row<'static> {
        let tags = self.tags.into_iter();
        let fields = self.fields.into_iter();
        Row {
            tags: tags
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            timestamp: self.timestamp,
            fields: fields
                .map(|(name, value)| (name.into_owned(), value))
                .collect(),
        }
    }
}
