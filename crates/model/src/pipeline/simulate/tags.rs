//! The values of a tag.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::pipeline::plain::Plain;

/// The values of a tag.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum TagValues {
    /// These.
    Listed(Vec<String>),
    /// A prefix with each number.
    Numbered(NumberedValues),
}

/// Values that are numbered from 1 on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberedValues {
    /// What stands before the number
    pub prefix: String,
    /// How many there are
    #[serde(deserialize_with = "count")]
    #[schemars(with = "Plain<usize>")]
    pub count: usize,
}

impl TagValues {
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        match self {
            Self::Listed(values) => values.len(),
            Self::Numbered(numbered) => numbered.count,
        }
    }

    /// The values, in their order: those with a number by it, from 1 on.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        match self {
            Self::Listed(values) => values.clone(),
            Self::Numbered(NumberedValues { prefix, count }) => {
                (1..=*count).map(|n| format!("{prefix}{n}")).collect()
            }
        }
    }

    /// Whether they have numbers.
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        matches!(self, Self::Numbered(_))
    }
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    Plain::deserialize(deserializer).map(|Plain(count)| count)
}

impl<'de> Deserialize<'de> for TagValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = TagValues;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("strings, or { prefix = \"line-\", count = 3 } for line-1 to line-3")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<TagValues, A::Error> {
                let values = Vec::deserialize(SeqAccessDeserializer::new(values));
                values.map(TagValues::Listed)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TagValues, A::Error> {
                let numbered = NumberedValues::deserialize(MapAccessDeserializer::new(map));
                numbered.map(TagValues::Numbered)
            }
        }

        deserializer.deserialize_any(Either)
    }
}
