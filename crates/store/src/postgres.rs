//! The store in PostgreSQL: a table a pipeline, a row a row, a column a tag or a field.

use std::sync::Arc;

use common::settings::BadSetting;
use model::row::Row;
use tokio::sync::Mutex;

use crate::field_type::FieldType;
use crate::row_check::{new_fields, rejected};
use crate::{Store, WriteError};

mod connection;
mod error;
mod history;
mod names;
mod points;
mod settings;
mod table;
mod upsert;
mod values;

use connection::Connection;
use error::Failure;
pub use history::PostgresHistory;
pub use points::{PointsRead, PointsTable, read_points};
pub use settings::{PostgresServer, PostgresSettings};
use table::Table;
use upsert::Upserts;

/// A table. Clones share its connection.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    settings: Arc<PostgresSettings>,
    writer: Arc<Mutex<Option<Writer>>>,
}

/// A connection that writes, and what it knows of the table.
#[derive(Debug)]
struct Writer {
    connection: Connection,
    table: Table,
    upserts: Upserts,
}

impl PostgresStore {
    /// Checks the settings. Connects at the first write, which creates the table if there is none.
    pub fn new(settings: &PostgresSettings) -> Result<Self, BadSetting> {
        settings.check()?;
        Ok(Self {
            settings: Arc::new(settings.clone()),
            writer: Arc::default(),
        })
    }

    /// A reader of the same table.
    #[must_use]
    pub fn history(&self) -> PostgresHistory {
        PostgresHistory::of(Arc::clone(&self.settings))
    }

    /// Checks, without changing anything, whether the server takes rows. Returns whether the table is there; otherwise
    /// the first write creates it.
    pub async fn check(&self) -> Result<bool, WriteError> {
        let checked = async {
            let connection = Connection::open(&self.settings.server).await?;
            match Table::find(&connection, &self.settings).await? {
                Some(table) => {
                    connection.execute(&upsert::nothing(&table)).await?;
                    Ok(true)
                }
                None => Table::check_creation(&connection).await.map(|()| false),
            }
        };
        let checked: Result<bool, Failure> = Box::pin(checked).await;
        checked.map_err(|failure| failure.without_rows().into())
    }

    async fn write_all(&self, writer: &mut Writer, rows: &[Row<'_>]) -> Result<(), WriteError> {
        let table = &writer.table;
        for (index, row) in rows.iter().enumerate() {
            let checked = table.check_row(row);
            checked.map_err(|problem| rejected(index, rows.len(), &problem))?;
        }
        let kind_of = |table: &Table, name: &str| table.field(name).map(|field| field.kind);
        let new = new_fields(rows, |name| kind_of(table, name))?;
        if !new.is_empty() {
            let new: Vec<(&str, FieldType)> = new.into_iter().collect();
            writer.table.add(&writer.connection, &new).await?;
            // Another process may have been first, with another type.
            new_fields(rows, |name| kind_of(&writer.table, name))?;
        }
        let Writer {
            connection,
            table,
            upserts,
        } = writer;
        upserts.write(connection, table, rows).await?;
        Ok(())
    }

    /// Does something on the connection of the store. After a failure it isn't used again, since a part of an answer
    /// may still be on its way.
    async fn with_writer<T>(
        &self,
        work: impl AsyncFnOnce(&mut Writer) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let mut place = self.writer.lock().await;
        let mut writer = match place.take() {
            Some(writer) if writer.connection.is_open() => writer,
            _ => self.connect().await?,
        };
        let done = work(&mut writer).await;
        if matches!(done, Ok(_) | Err(WriteError::Rejected { .. })) {
            *place = Some(writer);
        }
        done
    }

    /// Connects, and creates the table if there is none. No row is the cause if that fails.
    async fn connect(&self) -> Result<Writer, Failure> {
        let connection = Connection::open(&self.settings.server).await;
        let connection = connection.map_err(Failure::without_rows)?;
        let table = Table::prepare(&connection, &self.settings).await;
        let table = table.map_err(Failure::without_rows)?;
        Ok(Writer {
            connection,
            table,
            upserts: Upserts::default(),
        })
    }
}

impl Store for PostgresStore {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        // An allocation costs nothing beside a batch. Without it, the futures of the stages around nest too deep for the
        // compiler.
        Box::pin(self.with_writer(async |writer| self.write_all(writer, rows).await)).await
    }

    /// Inserts nothing: that needs the permissions, and a server that takes writes.
    async fn preflight(&self) -> Result<(), WriteError> {
        let checked = self.with_writer(async |writer| {
            let nothing = upsert::nothing(&writer.table);
            let written = writer.connection.execute(&nothing).await;
            written.map_err(|failure| failure.without_rows().into())
        });
        Box::pin(checked).await
    }
}
