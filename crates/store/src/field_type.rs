//! The types of fields.

use std::fmt;

use model::sample::Value;

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FieldType {
    Float,
    Integer,
    Bool,
    String,
}

impl FieldType {
    /// All types.
    const ALL: [Self; 4] = [Self::Float, Self::Integer, Self::Bool, Self::String];

    /// The type of a value.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Float(_) => Self::Float,
            Value::Integer(_) => Self::Integer,
            Value::Bool(_) => Self::Bool,
            Value::String(_) => Self::String,
        }
    }

    /// The type with this name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The name, as messages and files have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Bool => "bool",
            Self::String => "string",
        }
    }

    /// Whether the values are numbers.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Float | Self::Integer)
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
