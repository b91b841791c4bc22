//! The lists, and the stages that consume them.

use model::Stage;

/// One of the three lists of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// Readings, from the ingester to the transformer.
    Raw,
    /// Rows, from the transformer to the sink.
    Normalized,
    /// Dead letters, from every stage.
    Dead,
}

/// The list that the stage's lease guards. The transformer and the sink consume it. The ingester consumes
/// no list: its lease ensures that only one replica has the session with the broker, and this is the
/// list that it appends to.
#[must_use]
pub const fn source_of(stage: Stage) -> List {
    match stage {
        Stage::Ingester | Stage::Transformer => List::Raw,
        Stage::Sink => List::Normalized,
    }
}
