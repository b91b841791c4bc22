//! A row: the sensors of one rig at one tick, the "horizontal" form.

use crate::name::{Name, SensorName};
use crate::time::Timestamp;

/// What a store keeps under one key: tags and a time that identify it, numeric fields that it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// Tag names with their values; a pivoted row has the one tag `rig_id`.
    pub tags: Vec<(Name<'a>, Name<'a>)>,
    /// The tick.
    pub timestamp: Timestamp,
    /// Field names with their finite values, at least one, no name twice.
    pub fields: Vec<(SensorName<'a>, f64)>,
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
