//! A row: the sensors of one rig at one tick, the "horizontal" form.

use std::borrow::Cow;

use crate::name::RIG_ID;
use crate::time::Timestamp;

/// What a store keeps under one key: tags and a time that name it, numeric fields that it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// Tag names with their values; a pivoted row has the one tag `rig_id`.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The tick.
    pub timestamp: Timestamp,
    /// Field names with their finite values, at least one, no name twice.
    pub fields: Vec<(Cow<'a, str>, f64)>,
}

impl<'a> Row<'a> {
    /// A row of one rig with no fields yet.
    #[must_use]
    pub fn of_rig(rig_id: impl Into<Cow<'a, str>>, timestamp: Timestamp) -> Self {
        Self {
            tags: vec![(Cow::Borrowed(RIG_ID), rig_id.into())],
            timestamp,
            fields: Vec::with_capacity(6),
        }
    }
}
