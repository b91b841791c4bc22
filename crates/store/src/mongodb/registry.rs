//! What series there are, what fields they have, and of which type each field is.
//!
//! Documents don't tell: a server would have to read them all. So two more collections do, and what is in them
//! already is remembered here. An entry is written before the first row that it is about.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ::mongodb::Database;
use ::mongodb::bson::oid::ObjectId;
use ::mongodb::bson::{Bson, Document, RawArrayBuf, RawDocument, RawDocumentBuf, doc, rawdoc};
use model::row::Row;
use tokio::sync::Mutex;

use super::Shared;
use super::client::in_time;
use super::documents::DocumentId;
use super::error::Failure;
use super::names::{escaped, unescaped};
use super::update::update;
use crate::field_type::FieldType;
use crate::row_check::new_fields;
use crate::{ReadError, WriteError};

/// Most fields of series that are remembered. Beyond it, all are forgotten, and written again when they come.
const MAX_REMEMBERED: usize = 1_000_000;

/// What is registered.
#[derive(Debug, Default)]
pub(super) struct Registry {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// A number for each field, and its type.
    fields: HashMap<String, (usize, FieldType)>,
    /// Series and the numbers of their fields.
    series: HashSet<(DocumentId, usize)>,
}

/// A series that is registered.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub(super) key: String,
    /// The names of its fields, in order.
    pub(super) fields: Vec<String>,
}

fn fields_collection(shared: &Shared) -> String {
    format!("{}.rigline_fields", shared.settings.collection)
}

fn series_collection(shared: &Shared) -> String {
    format!("{}.rigline_series", shared.settings.collection)
}

impl Registry {
    /// Forgets what was written.
    pub(super) async fn forget(&self) {
        *self.known.lock().await = Known::default();
    }

    /// Registers what is new in rows, of which `ids` are the series. Fails if a value isn't of its field's type.
    pub(super) async fn admit(
        &self,
        shared: &Shared,
        database: &Database,
        rows: &[Row<'_>],
        ids: &[DocumentId],
    ) -> Result<(), WriteError> {
        let mut known = self.known.lock().await;
        if known.series.len() > MAX_REMEMBERED {
            known.series.clear();
        }
        let new = known.new_fields(rows)?;
        if !new.is_empty() {
            let types = register_types(shared, database, &new).await?;
            for (field, kind) in types {
                let number = known.fields.len();
                known.fields.insert(field, (number, kind));
            }
            // Another process may have been first, with another type.
            known.new_fields(rows)?;
        }
        let mut fresh: BTreeMap<DocumentId, (usize, BTreeSet<&str>)> = BTreeMap::new();
        let mut added = Vec::new();
        for (index, (row, id)) in std::iter::zip(rows, ids).enumerate() {
            for (name, _) in &row.fields {
                let number = known.fields.get(name.as_str()).map(|(number, _)| *number);
                if let Some(number) = number
                    && !known.series.contains(&(*id, number))
                {
                    let (_, fields) = fresh.entry(*id).or_insert_with(|| (index, BTreeSet::new()));
                    fields.insert(name.as_str());
                    added.push((*id, number));
                }
            }
        }
        let updates = fresh.into_iter().map(|(id, (index, fields))| {
            let key = shared
                .settings
                .layout
                .series_key(&rows[index].tags)
                .into_owned();
            let set: Document = fields
                .into_iter()
                .map(|field| (format!("fields.{}", escaped(field)), Bson::Boolean(true)))
                .collect();
            let insert = doc! { "pipeline": &shared.settings.pipeline, "key": key };
            doc! { "$set": set, "$setOnInsert": insert, "id": ObjectId::from_bytes(id) }
        });
        register(
            shared,
            database,
            &series_collection(shared),
            updates.collect(),
        )
        .await?;
        known.series.extend(added);
        Ok(())
    }
}

impl Known {
    /// The fields that aren't known, with the type of their first value.
    fn new_fields<'a>(
        &self,
        rows: &'a [Row<'_>],
    ) -> Result<BTreeMap<&'a str, FieldType>, WriteError> {
        new_fields(rows, |name| self.fields.get(name).map(|(_, kind)| *kind))
    }
}

/// Registers types of fields; returns those that are registered, which another process may have done before.
async fn register_types(
    shared: &Shared,
    database: &Database,
    new: &BTreeMap<&str, FieldType>,
) -> Result<Vec<(String, FieldType)>, WriteError> {
    let collection = fields_collection(shared);
    let id = |field: &str| ObjectId::from_bytes(shared.documents.field_id(field));
    let updates = new.iter().map(|(field, kind)| {
        let insert = doc! {
            "pipeline": &shared.settings.pipeline, "field": *field, "type": kind.name(),
        };
        doc! { "$setOnInsert": insert, "id": id(field) }
    });
    register(shared, database, &collection, updates.collect()).await?;
    let ids: Vec<_> = new.keys().map(|field| id(field)).collect();
    let collection = database.collection::<RawDocumentBuf>(&collection);
    let found = in_time(collection.find(doc! { "_id": { "$in": ids } })).await;
    let mut found = found.map_err(WriteError::from)?;
    let mut types = Vec::with_capacity(new.len());
    while in_time(found.advance()).await.map_err(WriteError::from)? {
        let entry = found.current();
        let kind = entry.get_str("type").ok();
        let kind = kind.and_then(FieldType::of_name);
        if let (Ok(field), Some(kind)) = (entry.get_str("field"), kind) {
            types.push((field.to_owned(), kind));
        }
    }
    if types.len() < new.len() {
        return Err(WriteError::Retry {
            detail: format!("entries of {} are missing or unreadable", collection.name()),
            after: None,
        });
    }
    Ok(types)
}

/// Carries out updates, each with the `id` of its document.
async fn register(
    shared: &Shared,
    database: &Database,
    collection: &str,
    updates: Vec<Document>,
) -> Result<(), WriteError> {
    for chunk in updates.chunks(shared.settings.batch) {
        let mut statements = RawArrayBuf::new();
        for update in chunk {
            let mut update = update.clone();
            let id = update.remove("id").and_then(|id| id.as_object_id());
            let Some(id) = id else { continue };
            let update = RawDocumentBuf::try_from(&update)
                .map_err(|error| Failure::retry(error.to_string()))?;
            statements.push(rawdoc! { "q": { "_id": id }, "u": update, "upsert": true });
        }
        update(database, collection, statements, chunk.len()).await?;
    }
    Ok(())
}

/// All series of the pipeline, ordered by key.
pub(super) async fn all_series(
    shared: &Shared,
    database: &Database,
) -> Result<Vec<Registered>, ReadError> {
    let collection = database.collection::<RawDocumentBuf>(&series_collection(shared));
    let filter = doc! { "pipeline": &shared.settings.pipeline };
    let mut found = in_time(collection.find(filter)).await?;
    let mut series = Vec::new();
    while in_time(found.advance()).await? {
        let entry = found.current();
        if let Ok(key) = entry.get_str("key") {
            series.push(Registered {
                key: key.to_owned(),
                fields: fields_in(entry),
            });
        }
    }
    series.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(series)
}

/// The fields of a series, in order; none if it isn't registered.
pub(super) async fn fields_of(
    shared: &Shared,
    database: &Database,
    id: DocumentId,
) -> Result<Vec<String>, ReadError> {
    let collection = database.collection::<RawDocumentBuf>(&series_collection(shared));
    let filter = doc! { "_id": ObjectId::from_bytes(id) };
    let entry = in_time(collection.find_one(filter)).await?;
    Ok(entry.map(|entry| fields_in(&entry)).unwrap_or_default())
}

/// The fields of the entry of a series, in order.
fn fields_in(entry: &RawDocument) -> Vec<String> {
    let fields = entry.get_document("fields").ok();
    let fields = fields.into_iter().flatten().flatten();
    let fields = fields.filter_map(|(member, _)| unescaped(member.as_str()));
    let mut fields: Vec<_> = fields.map(Cow::into_owned).collect();
    fields.sort_unstable();
    fields
}

/// The fields of all series, in order.
pub(super) async fn all_fields(
    shared: &Shared,
    database: &Database,
) -> Result<Vec<String>, ReadError> {
    let collection = database.collection::<RawDocumentBuf>(&fields_collection(shared));
    let filter = doc! { "pipeline": &shared.settings.pipeline };
    let mut found = in_time(collection.find(filter)).await?;
    let mut fields = Vec::new();
    while in_time(found.advance()).await? {
        fields.extend(found.current().get_str("field").map(str::to_owned));
    }
    fields.sort_unstable();
    Ok(fields)
}
