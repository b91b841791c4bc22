//! The lists, and which stage takes from which.

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

/// The list whose length and commit number the stage's lease guards. The transformer and the sink
/// consume it. The ingester consumes no list, but its lease keeps a second replica from taking over
/// its session with the broker; what it sees is the list that it appends to.
#[must_use]
pub const fn source_of(stage: Stage) -> List {
    match stage {
        Stage::Ingester | Stage::Transformer => List::Raw,
        Stage::Sink => List::Normalized,
    }
}
