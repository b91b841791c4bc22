//! The stages that data passes, and what else works on a pipeline's queue.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A stage that readings pass, in the order in which they do; last, the alerts, which only look on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Takes messages from a source and appends readings to the raw list.
    Ingester,
    /// Consumes the raw list and appends rows to the normalized list.
    Transformer,
    /// Consumes the normalized list and writes rows to the store.
    Sink,
    /// Evaluates alerts over stored rows. It takes from no list and makes no dead letters; its lease and its
    /// commits are about its state.
    #[serde(skip_deserializing)]
    Alerts,
}

/// A string that isn't the name of a [`Stage`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such stage: {0:?}; the stages are ingester, transformer, sink")]
pub struct UnknownStage(pub String);

impl Stage {
    /// The stages that readings pass, which are those of dead letters.
    pub const ALL: [Self; 3] = [Self::Ingester, Self::Transformer, Self::Sink];

    /// The name in keys, dead letters and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingester => "ingester",
            Self::Transformer => "transformer",
            Self::Sink => "sink",
            Self::Alerts => "alerts",
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

#[cfg(test)]
mod tests {
    use super::Stage;

    #[test]
    fn dead_letters_are_never_of_the_alerts() {
        for stage in Stage::ALL {
            assert_eq!(stage.name().parse(), Ok(stage));
            let read = serde_json::from_str::<Stage>(&format!("\"{stage}\""));
            assert_eq!(read.unwrap(), stage);
        }
        assert!("alerts".parse::<Stage>().is_err());
        assert!(serde_json::from_str::<Stage>("\"alerts\"").is_err());
    }
}
