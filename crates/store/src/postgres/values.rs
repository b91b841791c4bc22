//! Values as PostgreSQL has them.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use model::sample::Value;
use model::time::Timestamp;
use tokio_postgres::Row as Found;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::error::Failure;
use crate::field_type::FieldType;

const NANOS_PER_MICRO: i64 = 1_000;
/// 2000-01-01 in microseconds since 1970: where times of PostgreSQL start.
const EPOCH: i64 = 946_684_800_000_000;

/// A `timestamptz`: microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros(i64);

impl Micros {
    /// The time of a row, whose microseconds are whole.
    pub(super) fn of(time: Timestamp) -> Self {
        Self(time.nanos().div_euclid(NANOS_PER_MICRO))
    }

    /// The first time at or after this one.
    pub(super) fn from(time: Timestamp) -> Self {
        let (nanos, step) = (time.nanos(), NANOS_PER_MICRO);
        let micros = nanos.div_euclid(step);
        Self(micros + i64::from(nanos.rem_euclid(step) != 0))
    }

    /// The time.
    pub(super) fn time(self) -> Timestamp {
        Timestamp::from_nanos(self.0.saturating_mul(NANOS_PER_MICRO))
    }

    /// Seconds since 1970.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a double has microseconds for centuries around 1970"
    )]
    pub(super) fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl ToSql for Micros {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0.saturating_sub(EPOCH));
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(
            i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH),
        ))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }
}

/// The column's type of a field.
pub(super) const fn sql_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Float => "double precision",
        FieldType::Integer => "bigint",
        FieldType::Bool => "boolean",
        FieldType::String => "text",
    }
}

/// The field's type of a column; `None` if Rigline makes no such column for a field.
pub(super) fn field_type(sql_type: &str) -> Option<FieldType> {
    match sql_type {
        "double precision" => Some(FieldType::Float),
        "bigint" => Some(FieldType::Integer),
        "boolean" => Some(FieldType::Bool),
        "text" => Some(FieldType::String),
        _ => None,
    }
}

/// The value of a column of a row that was found; `None` if it is NULL.
pub(super) fn value(row: &Found, place: usize, kind: FieldType) -> Result<Option<Value>, Failure> {
    Ok(match kind {
        FieldType::Float => row.try_get::<_, Option<f64>>(place)?.map(Value::Float),
        FieldType::Integer => row.try_get::<_, Option<i64>>(place)?.map(Value::Integer),
        FieldType::Bool => row.try_get::<_, Option<bool>>(place)?.map(Value::Bool),
        FieldType::String => row.try_get::<_, Option<String>>(place)?.map(Value::String),
    })
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;

    use super::Micros;

    #[test]
    fn bounds_are_rounded_up() {
        for (nanos, of, from) in [(0, 0, 0), (1_500, 1, 2), (-1_500, -2, -1), (-1_000, -1, -1)] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(
                (Micros::of(time), Micros::from(time)),
                (Micros(of), Micros(from))
            );
        }
        assert_eq!(Micros(-2).time(), Timestamp::from_nanos(-2_000));
    }
}
