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
/// list that it appends to. The alerts have none.
#[must_use]
pub const fn source_of(stage: Stage) -> Option<List> {
    match stage {
        Stage::Ingester | Stage::Transformer => Some(List::Raw),
        Stage::Sink => Some(List::Normalized),
        Stage::Alerts => None,
    }
}

/// The list that the stage's commits append to, besides dead letters.
#[must_use]
pub const fn output_of(stage: Stage) -> Option<List> {
    match stage {
        Stage::Transformer => Some(List::Normalized),
        Stage::Ingester | Stage::Sink | Stage::Alerts => None,
    }
}
