//! A reading: one value of one sensor of one rig at one instant, the "vertical" form.

use crate::name::Name;
use crate::time::Timestamp;

/// One value of one sensor of one rig at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'a> {
    /// The rig's name.
    pub rig_id: Name<'a>,
    /// The sensor's name.
    pub sensor: Name<'a>,
    /// When the device took it.
    pub timestamp: Timestamp,
    /// Finite; in the sensor's own unit.
    pub value: f64,
    /// When it arrived at the ingester.
    pub ingest_time: Timestamp,
}
