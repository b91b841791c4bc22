//! The store in MongoDB: a document a row, whose `_id` is made of the row's key.
//!
//! Everything works on servers that only speak its protocol, too: no aggregation, and searches by `_id` wherever
//! rows are written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::mongodb::Database;
use ::mongodb::bson::{Bson, Document, RawArrayBuf, doc, rawdoc};
use common::clock::Clock;
use common::settings::BadSetting;
use model::row::Row;
use tokio::sync::OnceCell;

use crate::row_check::rejected;
use crate::{Store, WriteError};

mod client;
mod documents;
mod error;
mod history;
mod names;
mod plain;
mod registry;
mod settings;
mod update;

use documents::{DocumentEncoder, Documents};
use error::{Failure, OptionConflict};
pub use history::MongoHistory;
pub use plain::{DocumentFilter, NumberRange};
use registry::Registry;
pub use settings::MongoSettings;
use update::{MAX_COMMAND, update};

/// The name of the index of series and time.
const SERIES_INDEX: &str = "rigline_series_time";
/// The name of the index of time alone.
const TIME_INDEX: &str = "rigline_time";
/// Most fields of an index, less the time.
const MAX_INDEX_TAGS: usize = 31;
/// How long the server may take for a command.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A collection. Clones share its connections.
#[derive(Debug, Clone)]
pub struct MongoStore {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    clock: Clock,
}

/// What a store and its histories share.
#[derive(Debug)]
struct Shared {
    settings: MongoSettings,
    documents: Documents,
    database: OnceCell<Database>,
    /// Whether the index is there.
    is_prepared: OnceCell<()>,
}

impl MongoStore {
    /// Checks the settings. Connects at the first write. `clock` is for members that tell when a row was stored.
    pub fn new(settings: &MongoSettings, clock: Clock) -> Result<Self, BadSetting> {
        settings.check()?;
        Ok(Self {
            shared: Arc::new(Shared {
                documents: Documents::new(settings),
                settings: settings.clone(),
                database: OnceCell::new(),
                is_prepared: OnceCell::new(),
            }),
            registry: Arc::default(),
            clock,
        })
    }

    /// A reader of the same collection.
    #[must_use]
    pub fn history(&self) -> MongoHistory {
        MongoHistory::of(Arc::clone(&self.shared))
    }

    async fn write_all(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        let shared = &self.shared;
        let database = shared.database().await?;
        shared.prepare(database).await?;
        let mut encoder = DocumentEncoder::new(&shared.documents, self.clock.now());
        let mut updates = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let row = encoder.encode(row);
            updates.push(row.map_err(|problem| rejected(index, rows.len(), &problem))?);
        }
        let ids: Vec<_> = updates.iter().map(|row| row.series).collect();
        self.registry.admit(shared, database, rows, &ids).await?;
        let mut statements = updates.into_iter().map(|row| row.statement).peekable();
        let mut first = 0;
        while statements.peek().is_some() {
            let (mut chunk, mut bytes, mut count) = (RawArrayBuf::new(), 0, 0);
            while count < shared.settings.batch
                && let Some(next) = statements
                    .next_if(|next| count == 0 || bytes + next.as_bytes().len() <= MAX_COMMAND)
            {
                bytes += next.as_bytes().len();
                count += 1;
                chunk.push(next);
            }
            let written = update(database, &shared.settings.collection, chunk, count).await;
            written.map_err(|failure| failure.into_write_error(first, rows.len()))?;
            first += count;
        }
        Ok(())
    }
}

impl MongoStore {
    /// Changes a document that doesn't exist: that needs the permission to write, and a server that takes writes.
    pub async fn check(&self) -> Result<(), WriteError> {
        let database = self.shared.database().await?;
        let mut nothing = RawArrayBuf::new();
        nothing.push(rawdoc! { "q": { "_id": "" }, "u": { "$set": { "_": true } } });
        let written = update(database, &self.shared.settings.collection, nothing, 1).await;
        written.map_err(|failure| Failure::of_command(failure).into_write_error(0, 0))
    }
}

impl Store for MongoStore {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        let written = self.write_all(rows).await;
        if matches!(written, Err(WriteError::Retry { .. })) {
            // The server may come back with other data.
            self.registry.forget().await;
        }
        written
    }

    /// Makes the indexes, and does what [`check`](Self::check) does.
    async fn preflight(&self) -> Result<(), WriteError> {
        let database = self.shared.database().await?;
        self.shared.prepare(database).await?;
        self.check().await
    }
}

impl Shared {
    async fn database(&self) -> Result<&Database, Failure> {
        let connect = || client::database(&self.settings);
        self.database.get_or_try_init(connect).await
    }

    /// Makes the indexes: one for rows of a series, and one for documents of all series in the order of time.
    async fn prepare(&self, database: &Database) -> Result<(), Failure> {
        let create = || async {
            let time = self.documents.time();
            let mut of_series = Document::new();
            for (_, member) in self.documents.tags().take(MAX_INDEX_TAGS) {
                of_series.insert(member, 1);
            }
            of_series.insert(time, 1);
            self.create_index(database, SERIES_INDEX, of_series).await?;
            let of_all = doc! { time: 1, "_id": 1 };
            self.create_index(database, TIME_INDEX, of_all).await
        };
        self.is_prepared.get_or_try_init(create).await.copied()
    }

    /// Makes an index, unless there is one of the same members.
    async fn create_index(
        &self,
        database: &Database,
        name: &str,
        key: Document,
    ) -> Result<(), Failure> {
        let command = doc! {
            "createIndexes": &self.settings.collection,
            "indexes": [{ "key": key, "name": name }],
        };
        match client::in_time(database.run_command(command)).await {
            Err(failure) if failure.is(OptionConflict) => Ok(()),
            created => created.map(|_| ()),
        }
    }

    /// Documents of the series with these tags, of which a missing one is absent or null; `None` if no document can
    /// have such tags.
    fn with_tags(&self, tags: &BTreeMap<&str, &str>) -> Option<Document> {
        let mut filter = Document::new();
        for (name, member) in self.documents.tags() {
            let value = tags.get(name).map(|value| Bson::from(*value));
            filter.insert(member, value.unwrap_or(Bson::Null));
        }
        let is_known = |name: &&str| self.documents.has_tag(name);
        tags.keys().all(is_known).then_some(filter)
    }
}
