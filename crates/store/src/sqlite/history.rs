//! The reader thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use model::time::Timestamp;
use rusqlite::Connection;
use sqlite::{Job, OpenError, Stopped, Worker};
use tokio::sync::oneshot;

use super::error::StatementError;
use super::memory::HOUR;
use super::scan::{Buckets, Collect, Order, Pages, Scan, ScanError, rig_id, sensors_of};
use super::schema::STORE;
use crate::ReadError;
use crate::history::{Grid, History, Latest, MAX_PAGE, Page, RigSpan, Selection, Series};

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
        let pages = Pages::new(limit.min(MAX_PAGE), order);
        Ok(self.scan(of, order, pages).await?.page)
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
    async fn rigs(&self) -> Result<Vec<RigSpan>, ReadError> {
        self.read(|connection| Ok(rigs(connection)?)).await
    }

    async fn sensors(&self, rig: Option<&str>) -> Result<Vec<String>, ReadError> {
        let rig = rig.map(str::to_owned);
        self.read(move |connection| Ok(sensors(connection, rig.as_deref())?))
            .await
    }

    async fn latest(&self, rig: &str) -> Result<Vec<Latest>, ReadError> {
        let rig = rig.to_owned();
        self.read(move |connection| Ok(latest(connection, &rig)?))
            .await
    }

    async fn range(&self, of: Selection<'_>, limit: usize) -> Result<Page, ReadError> {
        self.page(of, limit, Order::OldestFirst).await
    }

    async fn newest(&self, of: Selection<'_>, limit: usize) -> Result<Page, ReadError> {
        self.page(of, limit, Order::NewestFirst).await
    }

    async fn buckets(&self, of: Selection<'_>, bucket: Duration) -> Result<Vec<Series>, ReadError> {
        let buckets = Buckets::new(Grid::new(bucket, of.from, of.to)?);
        Ok(self.scan(of, Order::OldestFirst, buckets).await?.finish())
    }
}

fn rigs(connection: &Connection) -> rusqlite::Result<Vec<RigSpan>> {
    let mut select = connection.prepare_cached(
        "SELECT name,
            (SELECT min(tick) FROM row WHERE rig = rig.id),
            (SELECT max(tick) FROM row WHERE rig = rig.id)
         FROM rig ORDER BY name",
    )?;
    select
        .query_map([], |row| {
            Ok(RigSpan {
                name: row.get(0)?,
                first: Timestamp::from_nanos(row.get(1)?),
                last: Timestamp::from_nanos(row.get(2)?),
            })
        })?
        .collect()
}

fn sensors(connection: &Connection, rig: Option<&str>) -> rusqlite::Result<Vec<String>> {
    if let Some(rig) = rig {
        let Some(rig) = rig_id(connection, rig)? else {
            return Ok(Vec::new());
        };
        let sensors = sensors_of(connection, rig)?;
        return Ok(sensors.into_iter().map(|(_, name, _)| name).collect());
    }
    let mut select = connection.prepare_cached(
        "SELECT name FROM sensor WHERE id IN (SELECT sensor FROM newest) ORDER BY name",
    )?;
    select.query_map([], |row| row.get(0))?.collect()
}

fn latest(connection: &Connection, rig: &str) -> rusqlite::Result<Vec<Latest>> {
    let Some(rig) = rig_id(connection, rig)? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (id, sensor, hour) in sensors_of(connection, rig)? {
        let start = hour.saturating_mul(HOUR);
        let sql = format!(
            "SELECT tick, v{id} FROM row WHERE rig = ?1 AND tick BETWEEN ?2 AND ?3
             AND v{id} IS NOT NULL ORDER BY tick DESC LIMIT 1"
        );
        let mut select = connection.prepare_cached(&sql)?;
        let newest = select.query_row([rig, start, start.saturating_add(HOUR - 1)], |row| {
            Ok(Latest {
                sensor,
                tick: Timestamp::from_nanos(row.get(0)?),
                value: row.get(1)?,
            })
        })?;
        found.push(newest);
    }
    Ok(found)
}
