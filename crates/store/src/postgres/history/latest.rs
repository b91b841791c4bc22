//! The newest values of fields.

use std::collections::BTreeMap;

use super::query::OfSeries;
use crate::history::Latest;
use crate::postgres::connection::Connection;
use crate::postgres::error::Failure;
use crate::postgres::names::TIME;
use crate::postgres::table::{FieldColumn, Table};
use crate::postgres::values::{Micros, value};

/// The rows in which fields are looked for first: mostly the newest ones have all that a series has.
const NEWEST: usize = 1_000;
/// The rows in which the others are looked for: the cost of a field that a series never had.
const LOOK_BACK: usize = 100_000;

/// The fields that have values, in order.
pub(super) async fn used(connection: &Connection, table: &Table) -> Result<Vec<String>, Failure> {
    let columns: Vec<_> = table.fields().collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let table = &table.name;
    let exist = columns.iter().map(|(_, column)| {
        let name = &column.name;
        format!("EXISTS (SELECT 1 FROM {table} WHERE {name} IS NOT NULL)")
    });
    let exist = exist.collect::<Vec<_>>().join(", ");
    let found = connection.query(&format!("SELECT {exist}"), &[]).await?;
    let mut fields = Vec::new();
    for row in &found {
        for (place, (name, _)) in columns.iter().enumerate() {
            if row.try_get(place)? {
                fields.push((*name).to_owned());
            }
        }
    }
    Ok(fields)
}

/// The fields of a series that have values in its newest [`LOOK_BACK`] rows, in order, with the times of the newest ones.
pub(super) async fn newest_times(
    connection: &Connection,
    table: &Table,
    series: &OfSeries,
) -> Result<BTreeMap<String, Micros>, Failure> {
    let mut missing: Vec<_> = table.fields().collect();
    let mut times = BTreeMap::new();
    let (condition, name) = (OfSeries::condition(table), &table.name);
    for rows in [NEWEST, LOOK_BACK] {
        if missing.is_empty() {
            break;
        }
        let newest = missing
            .iter()
            .map(|(_, column)| format!("max({TIME}) FILTER (WHERE {} IS NOT NULL)", column.name));
        let newest = newest.collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT count(*), {newest} FROM
                (SELECT * FROM {name} WHERE {condition} ORDER BY {TIME} DESC LIMIT {rows}) AS newest"
        );
        let found = connection.query(&sql, &series.values()).await?;
        let Some(row) = found.first() else { break };
        let mut still_missing = Vec::new();
        for (place, (field, column)) in missing.into_iter().enumerate() {
            match row.try_get::<_, Option<Micros>>(place + 1)? {
                Some(time) => {
                    times.insert(field.to_owned(), time);
                }
                None => still_missing.push((field, column)),
            }
        }
        missing = still_missing;
        // There are no others.
        if usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(usize::MAX) < rows {
            break;
        }
    }
    Ok(times)
}

/// The newest value of each field of a series, ordered by the fields' names.
pub(super) async fn of_series(
    connection: &Connection,
    table: &Table,
    series: &OfSeries,
) -> Result<Vec<Latest>, Failure> {
    let newest = newest_times(connection, table, series).await?;
    let columns: Vec<(&str, &FieldColumn, Micros)> = table
        .fields()
        .filter_map(|(name, column)| Some((name, column, *newest.get(name)?)))
        .collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let times: Vec<_> = columns.iter().map(|(_, _, time)| *time).collect();
    let names = columns.iter().map(|(_, column, _)| column.name.as_str());
    let selected = [TIME]
        .into_iter()
        .chain(names)
        .collect::<Vec<_>>()
        .join(", ");
    let mut values = series.values();
    values.push(&times);
    let (name, condition, number) = (&table.name, OfSeries::condition(table), values.len());
    let sql =
        format!("SELECT {selected} FROM {name} WHERE {condition} AND {TIME} = ANY (${number})");
    let mut latest = Vec::with_capacity(columns.len());
    for row in connection.query(&sql, &values).await? {
        let time: Micros = row.try_get(0)?;
        for (place, (field, column, newest)) in (1..).zip(&columns) {
            if *newest != time {
                continue;
            }
            let value = value(&row, place, column.kind)?;
            latest.extend(value.map(|value| Latest {
                field: (*field).to_owned(),
                tick: time.time(),
                value,
            }));
        }
    }
    latest.sort_by(|one, other| one.field.cmp(&other.field));
    Ok(latest)
}
