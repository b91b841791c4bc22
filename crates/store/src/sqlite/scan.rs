//! Scans a series' rows in steps, so that other queries run in between and a cancelled query ends.

use model::element::ElementError;
use model::name::{Name, NameError};
use model::sample::{Tags, Value};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::memory::HOUR;
use super::series::tags_of;
use crate::ReadError;
use crate::field_type::FieldType;
use crate::history::{Order, Selection};

/// Rows of a step, which takes about 20 ms.
const STEP: i64 = 20_000;

/// Collects the rows of a scan.
pub(super) trait Collect: Send + 'static {
    /// Whether to read the values of fields of this type.
    fn wants(&self, kind: FieldType) -> bool;
    /// Called first, with the series' tags and the names of the values' fields, in order.
    fn begin(&mut self, tags: Tags<'static>, fields: Vec<Name<'static>>);
    /// Called for each row, in the scan's order. Returns whether to continue.
    fn row(&mut self, tick: i64, values: Values<'_>) -> Result<bool, ScanError>;
}

/// The values of a row, one for each field.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    row: &'a rusqlite::Row<'a>,
    columns: &'a [Column],
}

impl Values<'_> {
    /// The value of the field with this index, if the row has one.
    pub(super) fn get(&self, index: usize) -> rusqlite::Result<Option<Value>> {
        // The first column is the tick.
        let stored = self.row.get_ref(index + 1)?;
        Ok(self.columns[index].kind.read(stored))
    }

    /// The number of the field with this index, if the row has one.
    pub(super) fn number(&self, index: usize) -> rusqlite::Result<Option<f64>> {
        match self.row.get_ref(index + 1)? {
            // Without a way around through `Value`, which most values of a scan would take.
            ValueRef::Real(value) => Ok(Some(value)),
            stored => {
                let value = self.columns[index].kind.read(stored);
                Ok(value.as_ref().and_then(Value::as_number))
            }
        }
    }
}

/// A running scan.
pub(super) struct Scan<C> {
    series: String,
    fields: Vec<String>,
    from: i64,
    to: i64,
    order: Order,
    source: Option<Source>,
    pub(super) collect: C,
}

struct Source {
    series: i64,
    sql: String,
    /// The field of each column.
    fields: Vec<Column>,
}

/// A field of a series.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) kind: FieldType,
    /// The hour since 1970 that the series' newest value is in.
    pub(super) hour: i64,
}

impl Source {
    /// Fails if a column has been given to another field, or another type, since the last step. That happens
    /// only if all values of the field were deleted meanwhile.
    fn check(&self, connection: &Connection) -> Result<(), ScanError> {
        let mut select = connection.prepare_cached("SELECT name, type FROM field WHERE id = ?1")?;
        for Column { id, name, kind, .. } in &self.fields {
            let now: Option<(String, FieldType)> = select
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let is_same = now.is_some_and(|now| now.0 == *name && now.1 == *kind);
            if !is_same {
                return Err(ScanError::Read(ReadError::Unavailable {
                    detail: format!("all values of {name:?} were deleted while they were read"),
                }));
            }
        }
        Ok(())
    }
}

/// Why a step failed.
pub(super) enum ScanError {
    Sql(rusqlite::Error),
    Read(ReadError),
}

impl From<rusqlite::Error> for ScanError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<NameError> for ScanError {
    fn from(error: NameError) -> Self {
        Self::Read(ReadError::Denied {
            detail: format!("the store holds a name that Rigline doesn't write: it {error}"),
        })
    }
}

impl From<ElementError> for ScanError {
    fn from(error: ElementError) -> Self {
        Self::Read(ReadError::Denied {
            detail: format!("the store holds a series that Rigline doesn't write: {error}"),
        })
    }
}

impl<C: Collect> Scan<C> {
    pub(super) fn new(of: Selection<'_>, order: Order, collect: C) -> Self {
        Self {
            order,
            series: of.series.to_owned(),
            fields: of.fields.to_vec(),
            from: of.from.nanos(),
            to: of.to.nanos(),
            source: None,
            collect,
        }
    }

    /// Reads some rows. Returns whether there may be more.
    pub(super) fn step(&mut self, connection: &Connection) -> Result<bool, ScanError> {
        match &self.source {
            Some(source) => source.check(connection)?,
            None => self.source = self.begin(connection)?,
        }
        let Some(source) = &self.source else {
            return Ok(false);
        };
        let mut select = connection.prepare_cached(&source.sql)?;
        let mut rows = select.query(params![source.series, self.from, self.to, STEP])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let tick = row.get(0)?;
            let columns = &source.fields;
            if !self.collect.row(tick, Values { row, columns })? {
                return Ok(false);
            }
            match self.order {
                // Ticks stay below `to`.
                Order::OldestFirst => self.from = tick + 1,
                Order::NewestFirst => self.to = tick,
            }
            count += 1;
        }
        Ok(count == STEP)
    }

    /// `None` if there is nothing to read.
    fn begin(&mut self, connection: &Connection) -> Result<Option<Source>, ScanError> {
        let Some(series) = series_id(connection, &self.series)? else {
            return Ok(None);
        };
        let mut fields = fields_of(connection, series)?;
        fields.retain(|field| {
            let is_asked = self.fields.is_empty() || self.fields.contains(&field.name);
            is_asked && self.collect.wants(field.kind)
        });
        // Without this, the way back to the newest value of a field that has ended would pass all rows
        // since then.
        let Some(hour) = fields.iter().map(|field| field.hour).max() else {
            return Ok(None);
        };
        self.to = self.to.min(hour.saturating_add(1).saturating_mul(HOUR));
        let columns: Vec<_> = fields
            .iter()
            .map(|field| format!("v{}", field.id))
            .collect();
        let order = match self.order {
            Order::OldestFirst => "tick",
            Order::NewestFirst => "tick DESC",
        };
        let sql = format!(
            "SELECT tick, {} FROM row
             WHERE series = ?1 AND tick >= ?2 AND tick < ?3 ORDER BY {order} LIMIT ?4",
            columns.join(", ")
        );
        let names = fields.iter().map(|field| Name::new(field.name.clone()));
        let names = names.collect::<Result<_, _>>()?;
        self.collect.begin(tags_of(&self.series)?, names);
        Ok(Some(Source {
            series,
            sql,
            fields,
        }))
    }
}

pub(super) fn series_id(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM series WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// The fields that a series has values of, ordered by name.
pub(super) fn fields_of(connection: &Connection, series: i64) -> rusqlite::Result<Vec<Column>> {
    let mut select = connection.prepare_cached(
        "SELECT id, name, type, hour FROM newest JOIN field ON id = field
         WHERE series = ?1 ORDER BY name",
    )?;
    let column = |row: &rusqlite::Row<'_>| {
        Ok(Column {
            id: row.get(0)?,
            name: row.get(1)?,
            kind: row.get(2)?,
            hour: row.get(3)?,
        })
    };
    select.query_map([series], column)?.collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::{Column, FieldType, ScanError, Source};
    use crate::ReadError;
    use crate::sqlite::schema::STORE;

    #[test]
    fn scan_ends_if_its_column_was_given_to_another_field_or_type() {
        let dir = TempDir::new().unwrap();
        let connection = STORE.open(&dir.path().join("store.db")).unwrap();
        let change = |sql: &str| connection.execute_batch(sql).unwrap();
        change("INSERT INTO field VALUES (7, 'temp', 'float')");
        let source = Source {
            series: 1,
            sql: String::new(),
            fields: vec![Column {
                id: 7,
                name: "temp".to_owned(),
                kind: FieldType::Float,
                hour: 0,
            }],
        };
        assert!(source.check(&connection).is_ok());
        for changed in ["name = 'pressure'", "type = 'bool'"] {
            change("UPDATE field SET name = 'temp', type = 'float'");
            assert!(source.check(&connection).is_ok());
            change(&format!("UPDATE field SET {changed} WHERE id = 7"));
            let checked = source.check(&connection);
            assert!(
                matches!(checked, Err(ScanError::Read(ReadError::Unavailable { .. }))),
                "{changed}"
            );
        }
    }
}
