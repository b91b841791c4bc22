//! The stages that data passes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A stage that readings pass, in the order in which they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Takes messages from a source and appends readings to the raw list.
    Ingester,
    /// Consumes the raw list and appends rows to the normalized list.
    Transformer,
    /// Consumes the normalized list and writes rows to the store.
    Sink,
}

/// A string that isn't the name of a [`Stage`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such stage: {0:?}; the stages are ingester, transformer, sink")]
pub struct UnknownStage(pub String);

impl Stage {
    /// All stages.
    pub const ALL: [Self; 3] = [Self::Ingester, Self::Transformer, Self::Sink];

    /// The name in keys, dead letters and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingester => "ingester",
            Self::Transformer => "transformer",
            Self::Sink => "sink",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(name: &str) -> Result<Self, UnknownStage> {
        let found = Self::ALL.into_iter().find(|stage| stage.name() == name);
        found.ok_or_else(|| UnknownStage(name.to_owned()))
    }
}
