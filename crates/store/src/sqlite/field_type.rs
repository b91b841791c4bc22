//! The types of fields in the file.

use model::sample::Value;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

use crate::field_type::FieldType;

impl FieldType {
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
}

impl FromSql for FieldType {
    fn column_result(stored: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::of_name(stored.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for FieldType {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}
