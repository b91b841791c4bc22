//! The reader thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use model::sample::Value;
use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use sqlite::{Job, OpenError, Stopped, Worker};
use tokio::sync::oneshot;

use super::collect::{Buckets, PageRows};
use super::error::StatementError;
use super::memory::HOUR;
use super::scan::{Collect, Column, Scan, ScanError, fields_of, series_id};
use super::schema::STORE;
use super::series::tags_of;
use crate::ReadError;
use crate::history::{
    FieldBuckets, FieldStatistics, Grid, History, Latest, MAX_PAGE, Order, Page, Selection,
    SeriesLatest, SeriesSpan,
};

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// A reader of a store's file. Clones share its thread, which ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct SqliteHistory {
    reader: Arc<Worker<Read>>,
    path: Arc<Path>,
}

impl SqliteHistory {
    /// Opens a store's file for reading only, also while another process writes to it. Creates and
    /// changes nothing.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        Self::beside(path)
    }

    pub(super) fn beside(path: &Path) -> Result<Self, OpenError> {
        Self::on(STORE.open_read_only(path)?, path)
    }

    pub(super) fn on(connection: Connection, path: &Path) -> Result<Self, OpenError> {
        let reader = Worker::start("store.db reads", move |jobs: Receiver<Job<Read>>| {
            while let Ok(Job { job: read, .. }) = jobs.recv() {
                read(&connection);
            }
        });
        let reader = reader.map_err(|error| OpenError::Unusable {
            path: path.to_owned(),
            detail: error.to_string(),
        })?;
        Ok(Self {
            reader: Arc::new(reader),
            path: path.into(),
        })
    }

    /// Runs `work` in a read transaction.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, ScanError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            if answer.is_closed() {
                return;
            }
            let done = connection
                .unchecked_transaction()
                .map_err(ScanError::Sql)
                .and_then(|transaction| work(&transaction));
            // A caller that went away doesn't want its answer.
            let _ = answer.send(done);
        });
        let stopped = |stopped: Stopped| ReadError::Unavailable {
            detail: stopped.to_string(),
        };
        self.reader.send(read).await.map_err(stopped)?;
        match answered.await.map_err(|_| stopped(Stopped))? {
            Ok(value) => Ok(value),
            Err(ScanError::Read(error)) => Err(error),
            Err(ScanError::Sql(error)) => Err(StatementError::new(&self.path, &error).into()),
        }
    }

    async fn page(&self, of: Selection<'_>, limit: usize, order: Order) -> Result<Page, ReadError> {
        if limit == 0 {
            return Err(ReadError::BadRequest {
                detail: "a page has to have at least 1 row".into(),
            });
        }
        let rows = PageRows::new(limit.min(MAX_PAGE), order);
        Ok(self.scan(of, order, rows).await?.finish())
    }

    async fn scan<C: Collect>(
        &self,
        of: Selection<'_>,
        order: Order,
        collect: C,
    ) -> Result<C, ReadError> {
        let mut scan = Scan::new(of, order, collect);
        loop {
            let (back, more) = self
                .read(move |connection| {
                    let more = scan.step(connection)?;
                    Ok((scan, more))
                })
                .await?;
            if !more {
                return Ok(back.collect);
            }
            scan = back;
        }
    }
}

impl History for SqliteHistory {
    async fn series(&self) -> Result<Vec<SeriesSpan>, ReadError> {
        self.read(series).await
    }

    async fn fields(&self, series: Option<&str>) -> Result<Vec<String>, ReadError> {
        let series = series.map(str::to_owned);
        self.read(move |connection| Ok(fields(connection, series.as_deref())?))
            .await
    }

    async fn latest(&self, series: &str) -> Result<Vec<Latest>, ReadError> {
        let series = series.to_owned();
        self.read(move |connection| Ok(latest(connection, &series)?))
            .await
    }

    async fn latest_of_all(&self) -> Result<Vec<SeriesLatest>, ReadError> {
        self.read(|connection| Ok(latest_of_all(connection)?)).await
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
        let buckets = Buckets::new(Grid::new(bucket, of.from, of.to)?);
        Ok(self.scan(of, Order::OldestFirst, buckets).await?.finish())
    }

    async fn statistics(&self, of: Selection<'_>) -> Result<Vec<FieldStatistics>, ReadError> {
        let whole = Buckets::new(Grid::whole(of.from));
        let fields = self.scan(of, Order::OldestFirst, whole).await?.finish();
        Ok(FieldStatistics::of_whole(fields))
    }
}

fn series(connection: &Connection) -> Result<Vec<SeriesSpan>, ScanError> {
    let mut select = connection.prepare_cached(
        "SELECT key,
            (SELECT min(tick) FROM row WHERE series = series.id),
            (SELECT max(tick) FROM row WHERE series = series.id)
         FROM series ORDER BY key",
    )?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        found.push(SeriesSpan {
            tags: tags_of(&key)?,
            key,
            first: Timestamp::from_nanos(row.get(1)?),
            last: Timestamp::from_nanos(row.get(2)?),
        });
    }
    Ok(found)
}

fn fields(connection: &Connection, series: Option<&str>) -> rusqlite::Result<Vec<String>> {
    if let Some(series) = series {
        let Some(series) = series_id(connection, series)? else {
            return Ok(Vec::new());
        };
        let fields = fields_of(connection, series)?.into_iter();
        return Ok(fields.map(|field| field.name).collect());
    }
    let mut select = connection.prepare_cached(
        "SELECT name FROM field
         WHERE EXISTS (SELECT 1 FROM newest WHERE field = field.id) ORDER BY name",
    )?;
    select.query_map([], |row| row.get(0))?.collect()
}

fn latest(connection: &Connection, series: &str) -> rusqlite::Result<Vec<Latest>> {
    match series_id(connection, series)? {
        Some(series) => latest_of(connection, series),
        None => Ok(Vec::new()),
    }
}

fn latest_of_all(connection: &Connection) -> rusqlite::Result<Vec<SeriesLatest>> {
    let mut select = connection.prepare_cached("SELECT id, key FROM series ORDER BY key")?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(SeriesLatest {
            key: row.get(1)?,
            values: latest_of(connection, row.get(0)?)?,
        });
    }
    Ok(found)
}

fn latest_of(connection: &Connection, series: i64) -> rusqlite::Result<Vec<Latest>> {
    let fields = fields_of(connection, series)?;
    // Mostly the newest row has them all.
    let newest = newest_row(connection, series, &fields)?;
    let mut found = Vec::with_capacity(fields.len());
    for (place, field) in fields.into_iter().enumerate() {
        let newest = newest.as_ref().and_then(|(tick, values)| {
            let value = values.get(place)?.clone()?;
            Some((*tick, value))
        });
        let newest = match newest {
            Some(newest) => Some(newest),
            None => newest_value(connection, series, &field)?,
        };
        found.extend(newest.map(|(tick, value)| Latest {
            field: field.name,
            tick,
            value,
        }));
    }
    Ok(found)
}

/// The newest row of a series, with its values in the order of `fields`.
fn newest_row(
    connection: &Connection,
    series: i64,
    fields: &[Column],
) -> rusqlite::Result<Option<(Timestamp, Vec<Option<Value>>)>> {
    if fields.is_empty() {
        return Ok(None);
    }
    let columns: Vec<_> = fields
        .iter()
        .map(|field| format!("v{}", field.id))
        .collect();
    let sql = format!(
        "SELECT tick, {} FROM row WHERE series = ?1 ORDER BY tick DESC LIMIT 1",
        columns.join(", ")
    );
    let mut select = connection.prepare_cached(&sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        let tick = Timestamp::from_nanos(row.get(0)?);
        let values = fields.iter().enumerate();
        let values = values.map(|(place, field)| Ok(field.kind.read(row.get_ref(place + 1)?)));
        Ok((tick, values.collect::<rusqlite::Result<_>>()?))
    };
    select.query_row([series], read).optional()
}

/// The newest value of a field of a series.
fn newest_value(
    connection: &Connection,
    series: i64,
    field: &Column,
) -> rusqlite::Result<Option<(Timestamp, Value)>> {
    let (id, start) = (field.id, field.hour.saturating_mul(HOUR));
    let sql = format!(
        "SELECT tick, v{id} FROM row WHERE series = ?1 AND tick BETWEEN ?2 AND ?3
         AND v{id} IS NOT NULL ORDER BY tick DESC LIMIT 1"
    );
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query([series, start, start.saturating_add(HOUR - 1)])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let tick = Timestamp::from_nanos(row.get(0)?);
    let value = field.kind.read(row.get_ref(1)?);
    Ok(value.map(|value| (tick, value)))
}
