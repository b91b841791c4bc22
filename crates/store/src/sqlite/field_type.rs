//! The types of fields.

use std::fmt;

use model::sample::Value;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FieldType {
    Float,
    Integer,
    Bool,
    String,
}

impl FieldType {
    /// The type of a value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Float(_) => Self::Float,
            Value::Integer(_) => Self::Integer,
            Value::Bool(_) => Self::Bool,
            Value::String(_) => Self::String,
        }
    }

    /// Whether the values are numbers.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Float | Self::Integer)
    }

    /// A value of this type from its column. `None` if it is NULL, or something that Rigline doesn't write.
    // Called for each value of a scan.
    #[inline]
    pub(super) fn read(self, stored: ValueRef<'_>) -> Option<Value> {
        match (self, stored) {
            (Self::Float, ValueRef::Real(value)) => Some(Value::Float(value)),
            (Self::Integer, ValueRef::Integer(value)) => Some(Value::Integer(value)),
            (Self::Bool, ValueRef::Integer(value)) => Some(Value::Bool(value != 0)),
            (Self::String, ValueRef::Text(text)) => {
                let text = str::from_utf8(text).ok()?;
                Some(Value::String(text.to_owned()))
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Bool => "bool",
            Self::String => "string",
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromSql for FieldType {
    fn column_result(stored: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = stored.as_str()?;
        let all = [Self::Float, Self::Integer, Self::Bool, Self::String];
        let found = all.into_iter().find(|one| one.name() == name);
        found.ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for FieldType {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}
