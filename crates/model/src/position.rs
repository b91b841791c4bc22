//! Positions of sources that can be read again from any place.

use std::collections::BTreeMap;

/// A change of one position of a source. An append is applied only if each of its positions has the value
/// `from`. So each message enters once, also after a lost reply or a takeover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionStep {
    /// The partition of the source.
    pub partition: String,
    /// The position before; empty if there is none yet.
    pub from: String,
    /// The position afterwards.
    pub to: String,
}

/// The positions of a source by its partitions.
pub type Positions = BTreeMap<String, String>;
