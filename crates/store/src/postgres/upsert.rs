//! The statements that write.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use model::row::Row;
use model::sample::Value;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::connection::Connection;
use super::error::Failure;
use super::names::TIME;
use super::table::{FieldColumn, Table, TagColumn, integer};
use super::values::{Micros, sql_type};
use crate::field_type::FieldType;

/// Prepared statements that are kept.
const MAX_PREPARED: usize = 64;

/// The prepared statements of a connection, by the names of the fields that they write.
#[derive(Debug, Default)]
pub(super) struct Upserts {
    prepared: HashMap<Vec<String>, Statement>,
}

/// Rows of the same fields.
#[derive(Debug, Default)]
struct Group<'a> {
    /// The rows' tags and times.
    keys: Vec<&'a Row<'a>>,
    /// Their values, in the order of the fields.
    values: Vec<Vec<&'a Value>>,
}

impl Upserts {
    /// Writes rows, of which the later one of equal keys wins.
    pub(super) async fn write(
        &mut self,
        connection: &Connection,
        table: &Table,
        rows: &[Row<'_>],
    ) -> Result<(), Failure> {
        let groups = grouped(rows);
        let is_transaction = groups.len() > 1;
        if is_transaction {
            connection.execute("BEGIN").await?;
        }
        for (fields, group) in groups {
            let written = self.write_group(connection, table, &fields, &group).await;
            if written.is_err() && is_transaction {
                connection.execute("ROLLBACK").await?;
            }
            written?;
        }
        if is_transaction {
            connection.execute("COMMIT").await?;
        }
        Ok(())
    }

    async fn write_group(
        &mut self,
        connection: &Connection,
        table: &Table,
        fields: &[&str],
        group: &Group<'_>,
    ) -> Result<(), Failure> {
        let columns: Option<Vec<_>> = fields.iter().map(|field| table.field(field)).collect();
        let columns =
            columns.ok_or_else(|| Failure::retry("the column of a field was removed meanwhile"))?;
        let statement = self.prepared(connection, table, fields, &columns).await?;
        let arrays = arrays(table, &columns, group)?;
        let values: Vec<_> = arrays.iter().map(Array::value).collect();
        connection.run(&statement, &values).await
    }

    async fn prepared(
        &mut self,
        connection: &Connection,
        table: &Table,
        fields: &[&str],
        columns: &[&FieldColumn],
    ) -> Result<Statement, Failure> {
        let key: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
        if let Some(statement) = self.prepared.get(&key) {
            return Ok(statement.clone());
        }
        if self.prepared.len() >= MAX_PREPARED {
            self.prepared.clear();
        }
        let statement = connection.prepare(&upsert(table, columns)).await?;
        self.prepared.insert(key, statement.clone());
        Ok(statement)
    }
}

/// A statement that needs the same permissions as others, and writes nothing.
pub(super) fn nothing(table: &Table) -> String {
    let (name, key) = (&table.name, table.key());
    format!(
        "INSERT INTO {name} ({key}) SELECT {key} FROM {name} WHERE false
         ON CONFLICT ({key}) DO UPDATE SET {TIME} = EXCLUDED.{TIME}"
    )
}

/// The statement for rows of these columns.
fn upsert(table: &Table, fields: &[&FieldColumn]) -> String {
    let (name, key) = (&table.name, table.key());
    let tags = table.tags.iter().map(TagColumn::sql_type);
    let kinds = fields.iter().map(|field| sql_type(field.kind));
    let kinds = tags.chain(["timestamptz"]).chain(kinds);
    let (mut columns, mut arrays) = (key.clone(), String::new());
    for (number, kind) in (1..).zip(kinds) {
        let comma = if number == 1 { "" } else { ", " };
        // Writing to a string can't fail.
        let _ = write!(arrays, "{comma}${number}::{kind}[]");
    }
    let (mut set, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for FieldColumn { name, .. } in fields {
        columns.push_str(", ");
        columns.push_str(name);
        set.push(format!("{name} = EXCLUDED.{name}"));
        old.push(format!("t.{name}"));
        new.push(format!("EXCLUDED.{name}"));
    }
    let (set, old, new) = (set.join(", "), old.join(", "), new.join(", "));
    // A row that is there already isn't written again, which would leave a dead one behind.
    format!(
        "INSERT INTO {name} AS t ({columns}) SELECT * FROM unnest({arrays})
         ON CONFLICT ({key}) DO UPDATE SET {set} WHERE ({old}) IS DISTINCT FROM ({new})"
    )
}

/// Rows without two of equal keys, by their fields, in order of the keys: statements of two writers don't wait for each
/// other.
fn grouped<'a>(rows: &'a [Row<'a>]) -> BTreeMap<Vec<&'a str>, Group<'a>> {
    let mut ordered: Vec<&Row<'_>> = rows.iter().collect();
    // As the table has it: rows that were made for another store may have nanoseconds.
    let key = |row: &'a Row<'a>| (&row.tags, Micros::of(row.timestamp));
    ordered.sort_by(|one, other| key(one).cmp(&key(other)));
    let mut groups: BTreeMap<_, Group<'_>> = BTreeMap::new();
    for same in ordered.chunk_by(|one, other| key(one) == key(other)) {
        let mut fields: Vec<(&str, &Value)> = Vec::new();
        let all = same.iter().flat_map(|row| &row.fields);
        fields.extend(all.map(|(name, value)| (name.as_str(), value)));
        // It keeps the order of equal ones.
        fields.sort_by_key(|(name, _)| *name);
        let mut last: Vec<(&str, &Value)> = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            match last.last_mut() {
                Some(before) if before.0 == name => before.1 = value,
                _ => last.push((name, value)),
            }
        }
        let (names, values): (Vec<_>, Vec<_>) = last.into_iter().unzip();
        let group = groups.entry(names).or_default();
        group.keys.push(same[0]);
        group.values.push(values);
    }
    groups
}

/// The values of a column.
enum Array<'a> {
    Texts(Vec<&'a str>),
    Integers(Vec<i64>),
    Times(Vec<Micros>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
}

impl Array<'_> {
    fn value(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Texts(values) => values,
            Self::Integers(values) => values,
            Self::Times(values) => values,
            Self::Floats(values) => values,
            Self::Bools(values) => values,
        }
    }
}

/// The columns of a group: tags, time, fields.
fn arrays<'a>(
    table: &Table,
    fields: &[&FieldColumn],
    group: &Group<'a>,
) -> Result<Vec<Array<'a>>, Failure> {
    let mut arrays = Vec::with_capacity(table.tags.len() + 1 + fields.len());
    for column in &table.tags {
        let tags = group.keys.iter().map(|row| {
            let mut tags = row.tags.iter();
            let tag = tags.find(|(tag, _)| **tag == *column.tag);
            tag.map_or("", |(_, value)| value.as_str())
        });
        arrays.push(if column.is_integer {
            let numbers: Result<_, _> = tags.map(integer).collect();
            Array::Integers(numbers.map_err(|problem| Failure::retry(&problem))?)
        } else {
            Array::Texts(tags.collect())
        });
    }
    let times = group.keys.iter().map(|row| Micros::of(row.timestamp));
    arrays.push(Array::Times(times.collect()));
    for (place, field) in fields.iter().enumerate() {
        let values = group.values.iter().map(|values| values[place]);
        let array = match field.kind {
            FieldType::Float => of_type(values, |value| match value {
                Value::Float(value) => Some(*value),
                _ => None,
            })
            .map(Array::Floats),
            FieldType::Integer => of_type(values, |value| match value {
                Value::Integer(value) => Some(*value),
                _ => None,
            })
            .map(Array::Integers),
            FieldType::Bool => of_type(values, |value| match value {
                Value::Bool(value) => Some(*value),
                _ => None,
            })
            .map(Array::Bools),
            FieldType::String => of_type(values, |value| match value {
                Value::String(value) => Some(value.as_str()),
                _ => None,
            })
            .map(Array::Texts),
        };
        let wrong = || Failure::retry("a value isn't of the type of its column");
        arrays.push(array.ok_or_else(wrong)?);
    }
    Ok(arrays)
}

/// The values of a column; `None` if one isn't of its type.
fn of_type<'a, T>(
    values: impl Iterator<Item = &'a Value>,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Option<Vec<T>> {
    values.map(read).collect()
}
