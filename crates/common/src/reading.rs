//! A reading: one value of one sensor of one rig at one instant, the "vertical" form.

use std::borrow::Cow;

use crate::time::Timestamp;

/// One value of one sensor of one rig at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'a> {
    /// The rig's name, checked by [`crate::name::check_rig`].
    pub rig_id: Cow<'a, str>,
    /// The sensor's name, checked by [`crate::name::check_sensor`].
    pub sensor: Cow<'a, str>,
    /// When the device took it.
    pub timestamp: Timestamp,
    /// Finite; in the sensor's own unit.
    pub value: f64,
    /// When it arrived at the ingester.
    pub ingest_time: Timestamp,
}
