//! Whole tables of numbers by ids, for reports.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;

use super::connection::Connection;
use super::error::Failure;
use super::names::{TIME, quoted};
use super::settings::PostgresServer;
use super::values::Micros;
use crate::ReadError;

/// A table that has a column `time` and these ones.
#[derive(Debug, Clone)]
pub struct PointsTable<'a> {
    /// Its name, also `schema.table`.
    pub table: &'a str,
    /// The column of an id, whose values are integers.
    pub id: &'a str,
    /// The column of a number.
    pub value: &'a str,
}

/// What there is besides the points of tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointsRead {
    /// The indexes of tables that don't exist, or lack a column: they have no points yet.
    pub missing: Vec<usize>,
    /// How many rows of each table have a value, but no time that is a moment, or no integer as their id.
    pub unusable: Vec<u64>,
}

/// Which of the columns of a table there are.
const COLUMNS: &str = "SELECT count(*) FROM pg_attribute
    WHERE attrelid = to_regclass($1::text) AND attname::text = ANY ($2::text[]) AND NOT attisdropped";

/// Reads tables at the same moment of the database, each row at a time: the index of its table, the id, the time in
/// seconds since 1970, and the value. Rows without a value are left out. The order is the server's.
pub async fn read_points(
    server: &PostgresServer,
    tables: &[PointsTable<'_>],
    mut each: impl FnMut(usize, i64, f64, f64),
) -> Result<PointsRead, ReadError> {
    let connection = Connection::open(server).await?;
    // A long table takes longer than other statements may.
    let begin = "SET statement_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    connection.execute(begin).await?;
    let mut read = PointsRead::default();
    for (index, table) in tables.iter().enumerate() {
        let name: Vec<_> = table.table.split('.').map(quoted).collect();
        let name = name.join(".");
        let columns = [table.id, TIME, table.value];
        let found = connection
            .query(COLUMNS, &[&name, &columns.as_slice()])
            .await?;
        let found = found.first().map(|row| row.try_get(0)).transpose();
        if found.map_err(Failure::from)? != Some(3_i64) {
            read.missing.push(index);
            read.unusable.push(0);
            continue;
        }
        let (id, value) = (quoted(table.id), quoted(table.value));
        let number = format!("{id}::double precision");
        // A column of any numeric type may have other values than integers, and a time may be infinite.
        let sql = format!(
            "SELECT CASE WHEN {number} = floor({number}) AND abs({number}) < 9.2e18 THEN {id}::bigint END,
                CASE WHEN isfinite({TIME}::timestamptz) THEN {TIME}::timestamptz END,
                {value}::double precision
            FROM {name} WHERE {value} IS NOT NULL"
        );
        let parameters: [&(dyn ToSql + Sync); 0] = [];
        let rows = connection.client.query_raw(&sql, parameters).await;
        let mut unusable = 0;
        let mut rows = pin!(rows.map_err(Failure::from)?);
        // A view may take long before its first row. A server that is gone is noticed by TCP.
        while let Some(row) = rows.try_next().await.map_err(Failure::from)? {
            let id: Option<i64> = row.try_get(0).map_err(Failure::from)?;
            let time: Option<Micros> = row.try_get(1).map_err(Failure::from)?;
            let value = row.try_get(2).map_err(Failure::from)?;
            match (id, time) {
                (Some(id), Some(time)) => each(index, id, time.seconds(), value),
                _ => unusable += 1,
            }
        }
        read.unusable.push(unusable);
    }
    Ok(read)
}
