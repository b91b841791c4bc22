//! Reading rows back.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use model::sample::Tags;

use super::connection::{Connection, in_time};
use super::error::Failure;
use super::settings::PostgresSettings;
use super::table::Table;
use super::values::{Micros, value};
use crate::ReadError;
use crate::history::{
    FieldBuckets, FieldStatistics, Grid, History, Latest, MAX_PAGE, Order, Page, Pages, Selection,
    SeriesLatest, SeriesSpan, Tallies,
};

mod latest;
mod query;

use query::{Columns, OfSeries};

/// Connections that are kept open between calls.
const MAX_IDLE: usize = 4;
/// Series that are asked about at the same time, on one connection.
const AT_ONCE: usize = 8;

/// Reads the rows of a table. Clones share their connections.
#[derive(Debug, Clone)]
pub struct PostgresHistory {
    settings: Arc<PostgresSettings>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl PostgresHistory {
    pub(super) fn of(settings: Arc<PostgresSettings>) -> Self {
        Self {
            settings,
            idle: Arc::default(),
        }
    }

    /// Asks the server on a connection that nobody else uses meanwhile; `None` if there is no table.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Connection, &Table) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop().filter(Connection::is_open);
        let connection = match kept {
            Some(connection) => connection,
            None => Connection::open(&self.settings.server).await?,
        };
        let table = Table::find(&connection, &self.settings).await?;
        let answer = match &table {
            Some(table) => Some(question(&connection, table).await?),
            None => None,
        };
        let mut idle = idle();
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
        Ok(answer)
    }

    /// The tags of a key, with the values of their columns; `None` if no series of the pipeline has this key.
    fn of_series(&self, table: &Table, key: &str) -> Option<OfSeries> {
        let tags = self.settings.layout.tags(key).ok()?;
        OfSeries::new(table, owned(tags))
    }

    async fn page(&self, of: Selection<'_>, limit: usize, order: Order) -> Result<Page, ReadError> {
        if limit == 0 {
            return Err(ReadError::BadRequest {
                detail: "the limit has to be at least 1".into(),
            });
        }
        let limit = limit.min(MAX_PAGE);
        let page = self.ask(async |connection, table| {
            let mut pages = Pages::new(limit, order);
            let (Some(series), columns) = (
                self.of_series(table, of.series),
                Columns::new(table, of.fields),
            ) else {
                return Ok(pages.page);
            };
            let sql = query::rows(table, &series, &columns, order, Some(limit + 1));
            let mut rows = self.rows(connection, &series, &sql, of).await?;
            while let Some(row) = in_time(async { Ok(rows.try_next().await?) }).await? {
                let time: Micros = row.try_get(0).map_err(Failure::from)?;
                let mut fields = Vec::with_capacity(columns.fields.len());
                for (place, (name, kind)) in (1..).zip(&columns.fields) {
                    let value = value(&row, place, *kind)?;
                    fields.extend(value.map(|value| (name.clone(), value)));
                }
                if !pages.row(&series.tags, time.time(), fields) {
                    break;
                }
            }
            Ok(pages.page)
        });
        Ok(page.await?.unwrap_or(Page {
            rows: Vec::new(),
            next: None,
        }))
    }

    /// The rows of a selection as a stream.
    async fn rows(
        &self,
        connection: &Connection,
        series: &OfSeries,
        sql: &str,
        of: Selection<'_>,
    ) -> Result<std::pin::Pin<Box<tokio_postgres::RowStream>>, ReadError> {
        let bounds = [Micros::from(of.from), Micros::from(of.to)];
        let mut values = series.values();
        values.push(&bounds[0]);
        values.push(&bounds[1]);
        let rows = connection.stream(sql, &values).await?;
        Ok(Box::pin(rows))
    }

    async fn tally(&self, of: Selection<'_>, grid: Grid) -> Result<Vec<FieldBuckets>, ReadError> {
        let tallies = self.ask(async |connection, table| {
            let Some(series) = self.of_series(table, of.series) else {
                return Ok(Vec::new());
            };
            let columns = Columns::of_numbers(table, of.fields);
            let names: Vec<_> = columns
                .fields
                .iter()
                .map(|(name, _)| name.clone())
                .collect();
            let mut tallies = Tallies::new(grid, &names);
            let sql = query::rows(table, &series, &columns, Order::OldestFirst, None);
            let mut rows = self.rows(connection, &series, &sql, of).await?;
            while let Some(row) = in_time(async { Ok(rows.try_next().await?) }).await? {
                let time: Micros = row.try_get(0).map_err(Failure::from)?;
                for (place, (_, kind)) in columns.fields.iter().enumerate() {
                    let found = value(&row, place + 1, *kind)?;
                    if let Some(number) = found.and_then(|value| value.as_number()) {
                        tallies.add(place, time.time().nanos(), number)?;
                    }
                }
            }
            Ok(tallies.finish())
        });
        Ok(tallies.await?.unwrap_or_default())
    }
}

fn owned(tags: Tags<'_>) -> Tags<'static> {
    let tags = tags.into_iter();
    tags.map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

impl History for PostgresHistory {
    async fn series(&self) -> Result<Vec<SeriesSpan>, ReadError> {
        let layout = self.settings.layout;
        let spans = self.ask(async |connection, table| {
            let found = connection.query(&query::series(table), &[]).await?;
            let spans = found.iter().map(|row| query::span(table, layout, row));
            let spans: Result<Vec<_>, Failure> = spans.collect();
            let mut spans: Vec<_> = spans?.into_iter().flatten().collect();
            spans.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            Ok(spans)
        });
        Ok(spans.await?.unwrap_or_default())
    }

    async fn fields(&self, series: Option<&str>) -> Result<Vec<String>, ReadError> {
        let fields = self.ask(async |connection, table| match series {
            None => Ok(latest::used(connection, table).await?),
            Some(key) => {
                let Some(series) = self.of_series(table, key) else {
                    return Ok(Vec::new());
                };
                let times = latest::newest_times(connection, table, &series).await?;
                Ok(times.into_keys().collect())
            }
        });
        Ok(fields.await?.unwrap_or_default())
    }

    async fn latest(&self, series: &str) -> Result<Vec<Latest>, ReadError> {
        let latest = self.ask(async |connection, table| {
            let Some(series) = self.of_series(table, series) else {
                return Ok(Vec::new());
            };
            Ok(latest::of_series(connection, table, &series).await?)
        });
        Ok(latest.await?.unwrap_or_default())
    }

    async fn latest_of_all(&self) -> Result<Vec<SeriesLatest>, ReadError> {
        let all = self.series().await?;
        let latest = self.ask(async |connection, table| {
            let latest = stream::iter(all).map(async |span| {
                let Some(series) = OfSeries::new(table, span.tags) else {
                    return Ok(None);
                };
                let values = latest::of_series(connection, table, &series).await?;
                let key = span.key;
                Ok((!values.is_empty()).then_some(SeriesLatest { key, values }))
            });
            let latest: Result<Vec<_>, Failure> =
                pin!(latest.buffered(AT_ONCE)).try_collect().await;
            Ok(latest?.into_iter().flatten().collect())
        });
        Ok(latest.await?.unwrap_or_default())
    }

    async fn range(&self, of: Selection<'_>, limit: usize) -> Result<Page, ReadError> {
        self.page(of, limit, Order::OldestFirst).await
    }

    async fn newest(&self, of: Selection<'_>, limit: usize) -> Result<Page, ReadError> {
        self.page(of, limit, Order::NewestFirst).await
    }

    async fn buckets(
        &self,
        of: Selection<'_>,
        bucket: Duration,
    ) -> Result<Vec<FieldBuckets>, ReadError> {
        self.tally(of, Grid::new(bucket, of.from, of.to)?).await
    }

    async fn statistics(&self, of: Selection<'_>) -> Result<Vec<FieldStatistics>, ReadError> {
        let fields = self.tally(of, Grid::whole(of.from)).await?;
        Ok(FieldStatistics::of_whole(fields))
    }
}
