//! How a row is a record.

use std::collections::BTreeMap;
use std::time::Duration;

use ::kafka::NewRecord;
use bytes::Bytes;
use model::pipeline::{ColumnSource, PipelineFile, RecordFormat, StoreTable};
use model::row::Row;
use model::sample::Value;
use serde_json::{Map, Value as Json};

use super::protobuf::{self, RecordType};

/// The member of the row's time, unless the table names another one.
const TIME: &str = "time";

/// Encodes the rows of a pipeline.
#[derive(Debug)]
pub(super) struct RecordEncoder {
    /// Members with the row's time, and how much they are after it.
    times: Vec<(String, Duration)>,
    /// Tags and fields whose members have another name.
    renamed: BTreeMap<String, String>,
    /// The type of the records; JSON without one.
    of_type: Option<RecordType>,
}

impl RecordEncoder {
    /// Fails if the type of the records can't be used.
    pub(super) fn of_file(file: &PipelineFile, table: &StoreTable) -> Result<Self, String> {
        let every = file.rows.every.as_deref();
        let every = every.map_or(Duration::ZERO, |every| every.0);
        let (mut times, mut renamed) = (Vec::new(), BTreeMap::new());
        let mut has_time = false;
        for (member, source) in &table.columns {
            match &**source {
                ColumnSource::Time | ColumnSource::Start => {
                    has_time = true;
                    times.push((member.clone(), Duration::ZERO));
                }
                ColumnSource::End => times.push((member.clone(), every)),
                ColumnSource::Named(name) => {
                    renamed.insert(name.clone(), member.clone());
                }
                // The check of the file refuses it.
                ColumnSource::Now | ColumnSource::TimeOf(_) => {}
            }
        }
        if !has_time {
            times.push((TIME.to_owned(), Duration::ZERO));
        }
        let of_type = match table.format.as_deref() {
            None | Some(RecordFormat::Json) => None,
            Some(RecordFormat::Protobuf) => Some(protobuf::find(table)?),
        };
        Ok(Self {
            times,
            renamed,
            of_type,
        })
    }

    /// The record of a row, whose key and value have at most `limit` bytes. Otherwise the reason why it can't have one.
    pub(super) fn encode(&self, row: &Row<'_>, limit: usize) -> Result<NewRecord, String> {
        let document = Json::Object(self.document(row)?);
        let value = match &self.of_type {
            None => document.to_string().into_bytes(),
            Some(of_type) => protobuf::encode(of_type, &document)?,
        };
        let key = key(row);
        let size = value.len() + key.as_ref().map_or(0, Bytes::len);
        if size > limit {
            return Err(format!(
                "the record has {size} bytes, and the topic takes {limit}"
            ));
        }
        let value = Bytes::from(value);
        Ok(NewRecord { key, value })
    }

    fn document(&self, row: &Row<'_>) -> Result<Map<String, Json>, String> {
        let mut document = Map::new();
        for (member, after) in &self.times {
            let time = row.timestamp.plus(*after);
            insert(&mut document, member, time.to_string().into())?;
        }
        for (name, value) in &row.tags {
            self.insert(&mut document, name.as_str(), value.as_str().into())?;
        }
        for (name, value) in &row.fields {
            let value = match value {
                Value::Float(value) => (*value).into(),
                Value::Integer(value) => (*value).into(),
                Value::Bool(value) => (*value).into(),
                Value::String(text) => text.as_str().into(),
            };
            self.insert(&mut document, name.as_str(), value)?;
        }
        Ok(document)
    }

    /// Sets the member of a tag or a field.
    fn insert(&self, to: &mut Map<String, Json>, name: &str, value: Json) -> Result<(), String> {
        match self.renamed.get(name) {
            Some(path) => insert(to, path, value),
            None => insert_here(to, name, value),
        }
    }
}

/// The key of a record: the values of the tags, in the order of their names, with commas in between. Rows of one series
/// have the same key, so that they are in one partition, in order.
fn key(row: &Row<'_>) -> Option<Bytes> {
    let values: Vec<_> = row.tags.iter().map(|(_, value)| value.as_str()).collect();
    (!values.is_empty()).then(|| Bytes::from(values.join(",")))
}

/// Sets the member that a path of names with points in between leads to.
fn insert(document: &mut Map<String, Json>, path: &str, value: Json) -> Result<(), String> {
    let Some((first, rest)) = path.split_once('.') else {
        return insert_here(document, path, value);
    };
    let within = document.entry(first).or_insert_with(|| Map::new().into());
    match within {
        Json::Object(within) => insert(within, rest, value),
        _ => Err(taken(first)),
    }
}

fn insert_here(document: &mut Map<String, Json>, name: &str, value: Json) -> Result<(), String> {
    match document.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(taken(name)),
    }
}

fn taken(name: &str) -> String {
    format!("it has two values for the member {name:?} of a record: rename one in [store.columns]")
}
