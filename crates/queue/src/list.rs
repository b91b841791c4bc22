//! The lists, and who consumes them.

/// One of the three lists of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// Readings, from the ingester to the transformer.
    Raw,
    /// Rows, from the transformer to the sink.
    Normalized,
    /// Dead letters, from everybody.
    Dead,
}

/// A stage that holds a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consumer {
    /// Consumes the broker's session and no list; its lease keeps a second replica from taking the
    /// session over.
    Ingester,
    /// Consumes [`List::Raw`], appends to [`List::Normalized`].
    Transformer,
    /// Consumes [`List::Normalized`].
    Sink,
}

impl Consumer {
    /// The stage's name, as in keys and dead letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingester => "ingester",
            Self::Transformer => "transformer",
            Self::Sink => "sink",
        }
    }

    /// The list it takes from; the ingester only ever looks at the one it appends to.
    #[must_use]
    pub const fn source(self) -> List {
        match self {
            Self::Ingester | Self::Transformer => List::Raw,
            Self::Sink => List::Normalized,
        }
    }
}
