//! Documents as they are, for APIs that other systems define.

use std::collections::BTreeMap;

use ::mongodb::bson::{Bson, Document, RawBsonRef, RawDocumentBuf, doc};
use model::row::Row;
use model::sample::Value;
use model::time::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::client::in_time;
use super::documents::{date_from, date_until, member};
use super::error::Failure;
use super::history::{ANSWER, MongoHistory};
use crate::ReadError;
use crate::history::{Order, Tally};

/// Which documents to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct DocumentFilter<'a> {
    /// Tags with their values.
    pub tags: &'a [(&'a str, &'a str)],
    /// The earliest time.
    pub from: Option<Timestamp>,
    /// The latest time.
    pub until: Option<Timestamp>,
    /// A field that is a number.
    pub field: Option<NumberRange<'a>>,
}

/// A field whose number is in a range.
#[derive(Debug, Clone, Copy)]
pub struct NumberRange<'a> {
    /// The field.
    pub field: &'a str,
    /// The least number.
    pub least: Option<f64>,
    /// The largest number.
    pub largest: Option<f64>,
}

impl MongoHistory {
    /// Documents ordered by time, at most `limit`, after the first `skip` ones. Dates are strings of RFC 3339 in UTC;
    /// the `_id` is `{"$oid": …}`.
    pub async fn documents(
        &self,
        filter: DocumentFilter<'_>,
        order: Order,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<Map<String, Json>>, ReadError> {
        let (database, documents) = (self.shared.database().await?, &self.shared.documents);
        let collection = database.collection::<Document>(&self.shared.settings.collection);
        let direction = match order {
            Order::OldestFirst => 1,
            Order::NewestFirst => -1,
        };
        // The `_id` puts documents of one time in an order that stays the same from page to page.
        let find = collection
            .find(self.condition(filter))
            .sort(doc! { documents.time(): direction, "_id": direction })
            .skip(skip)
            .limit(limit.into());
        let mut found = in_time(find).await?;
        let mut read = Vec::new();
        while in_time(found.advance()).await? {
            let document = found.deserialize_current().map_err(Failure::from)?;
            let members = document.into_iter();
            read.push(
                members
                    .map(|(name, value)| (name, json_of(value)))
                    .collect(),
            );
        }
        Ok(read)
    }

    /// The number of these documents.
    pub async fn count_documents(&self, filter: DocumentFilter<'_>) -> Result<u64, ReadError> {
        let database = self.shared.database().await?;
        let mut command = doc! { "count": &self.shared.settings.collection };
        let condition = self.condition(filter);
        // Without a condition, the server has the number at hand.
        if !condition.is_empty() {
            command.insert("query", condition);
        }
        let counted = in_time(database.run_command(command)).await?;
        let count = match counted.get("n") {
            Some(Bson::Int32(count)) => i64::from(*count),
            Some(Bson::Int64(count)) => *count,
            #[expect(clippy::cast_possible_truncation, reason = "a count is whole")]
            Some(Bson::Double(count)) => *count as i64,
            other => {
                return Err(ReadError::Unavailable {
                    detail: format!("MongoDB counts {other:?} documents"),
                });
            }
        };
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The sample's standard deviation of fields over all documents with the same value of a tag, by that value: one
    /// for each field, in their order; `None` for fewer than two numbers. Documents without the tag aren't counted.
    ///
    /// The numbers are read and counted here, as for the statistics of a series.
    pub async fn deviations(
        &self,
        tag: &str,
        fields: &[&str],
    ) -> Result<BTreeMap<String, Vec<Option<f64>>>, ReadError> {
        let (database, documents) = (self.shared.database().await?, &self.shared.documents);
        let Some((_, tag)) = documents.tags().find(|(name, _)| *name == tag) else {
            return Err(ReadError::BadRequest {
                detail: format!("documents have no tag {tag:?}"),
            });
        };
        let mut wanted = doc! { "_id": 0, tag: 1 };
        for field in fields {
            wanted.insert(documents.field(field), 1);
        }
        let collection = database.collection::<RawDocumentBuf>(&self.shared.settings.collection);
        let find = collection.find(doc! {}).projection(wanted);
        let mut found = in_time(find.batch_size(ANSWER)).await?;
        let mut groups: BTreeMap<String, Vec<Option<Tally>>> = BTreeMap::new();
        while in_time(found.advance()).await? {
            let document = found.current();
            let Some(RawBsonRef::String(group)) = member(document, tag) else {
                continue;
            };
            if !groups.contains_key(group) {
                groups.insert(group.to_owned(), vec![None; fields.len()]);
            }
            let tallies = groups.get_mut(group).into_iter().flatten();
            for (tally, field) in tallies.zip(fields) {
                let value = documents.value_of(document, field);
                match (value.and_then(|value| value.as_number()), tally) {
                    (Some(number), Some(tally)) => tally.add(number),
                    (Some(number), tally) => *tally = Some(Tally::of(0, number)),
                    (None, _) => {}
                }
            }
        }
        let deviations = |tallies: Vec<Option<Tally>>| {
            let tallies = tallies.into_iter();
            tallies.map(|tally| tally?.stddev()).collect()
        };
        let groups = groups.into_iter();
        Ok(groups
            .map(|(group, tallies)| (group, deviations(tallies)))
            .collect())
    }

    /// The document of a row as [`documents`](Self::documents) has it, without members that tell when it was stored.
    #[must_use]
    pub fn document_of(&self, row: &Row<'_>) -> Map<String, Json> {
        let documents = &self.shared.documents;
        let mut document = Map::new();
        let id = json!({ "$oid": documents.row_id(row).to_hex() });
        document.insert("_id".to_owned(), id);
        for (name, value) in &row.tags {
            if let Some((_, member)) = documents.tags().find(|(tag, _)| *tag == name.as_str()) {
                insert(&mut document, member, value.as_str().into());
            }
        }
        for (member, time) in documents.times_of(row.timestamp) {
            insert(&mut document, member, time.to_string().into());
        }
        for (name, value) in &row.fields {
            let date = documents.date_of(name, value);
            let value = match value {
                Value::String(text) => match date {
                    Some(Ok(date)) => date.to_string().into(),
                    _ => text.as_str().into(),
                },
                Value::Float(value) => (*value).into(),
                Value::Integer(value) => (*value).into(),
                Value::Bool(value) => (*value).into(),
            };
            insert(&mut document, &documents.field(name), value);
        }
        document
    }

    fn condition(&self, filter: DocumentFilter<'_>) -> Document {
        let documents = &self.shared.documents;
        let mut condition = Document::new();
        for (name, value) in filter.tags {
            let members = documents.tags();
            let member = members.filter(|(tag, _)| tag == name).map(|(_, it)| it);
            for member in member {
                condition.insert(member, *value);
            }
        }
        let mut range = Document::new();
        if let Some(from) = filter.from {
            range.insert("$gte", date_from(from));
        }
        if let Some(until) = filter.until {
            range.insert("$lte", date_until(until));
        }
        if !range.is_empty() {
            condition.insert(documents.time(), range);
        }
        if let Some(of) = filter.field {
            let mut range = Document::new();
            if let Some(least) = of.least {
                range.insert("$gte", least);
            }
            if let Some(largest) = of.largest {
                range.insert("$lte", largest);
            }
            if !range.is_empty() {
                condition.insert(documents.field(of.field), range);
            }
        }
        condition
    }
}

/// Sets the member that a path of names with points in between leads to.
fn insert(document: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            document.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let within = document.entry(first).or_insert_with(|| json!({}));
            if let Json::Object(within) = within {
                insert(within, rest, value);
            }
        }
    }
}

fn json_of(value: Bson) -> Json {
    match value {
        Bson::DateTime(time) => Timestamp::from_millis(time.timestamp_millis())
            .to_string()
            .into(),
        Bson::Document(members) => {
            let members = members.into_iter();
            Json::Object(
                members
                    .map(|(name, value)| (name, json_of(value)))
                    .collect(),
            )
        }
        Bson::Array(values) => values.into_iter().map(json_of).collect(),
        Bson::ObjectId(id) => json!({ "$oid": id.to_hex() }),
        Bson::Double(number) => number.into(),
        Bson::Int32(number) => number.into(),
        Bson::Int64(number) => number.into(),
        Bson::Boolean(value) => value.into(),
        Bson::String(text) => text.into(),
        // Rigline writes no others, and their text is better than nothing.
        other => other.to_string().into(),
    }
}
