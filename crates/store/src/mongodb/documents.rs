//! How rows are documents.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ::mongodb::bson::oid::ObjectId;
use ::mongodb::bson::raw::CStr;
use ::mongodb::bson::{DateTime, RawBsonRef, RawDocument, RawDocumentBuf, rawdoc};
use model::name::Name;
use model::pipeline::ColumnSource;
use model::row::Row;
use model::sample::{Tags, Value};
use model::time::Timestamp;
use sha2::{Digest, Sha256};

use super::MongoSettings;
use super::names::{escaped, escaped_further, unescaped};
use super::update::MAX_COMMAND;

/// The member of the row's time, unless the settings name another one.
const TIME: &str = "time";
const NANOS_PER_MILLI: i64 = 1_000_000;

/// An `_id`, and the start of the hash that it is made of.
pub(super) type DocumentId = [u8; 12];

/// The members of a pipeline's documents.
#[derive(Debug)]
pub(super) struct Documents {
    pipeline: String,
    /// Tags, in order, and their members.
    tags: BTreeMap<String, String>,
    /// The member that a row's time is read from.
    time: String,
    /// Members with the row's time, and how many milliseconds they are after it.
    times: Vec<(String, i64)>,
    /// Members that tell when the row was first stored.
    now: Vec<String>,
    /// Fields whose members have another name.
    fields: BTreeMap<String, String>,
    /// Fields that hold times and are stored as dates.
    dates: BTreeSet<String>,
    /// The first names of all members that aren't those of fields by their own names.
    taken: HashSet<String>,
}

impl Documents {
    pub(super) fn new(settings: &MongoSettings) -> Self {
        let every = i64::try_from(settings.every.as_millis()).unwrap_or(i64::MAX);
        let (mut times, mut now, mut named) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (mut time, mut dates) = (None, BTreeSet::new());
        for (member, source) in &settings.columns {
            match source {
                ColumnSource::Time | ColumnSource::Start => {
                    time.get_or_insert_with(|| member.clone());
                    times.push((member.clone(), 0));
                }
                ColumnSource::End => times.push((member.clone(), every)),
                ColumnSource::Now => now.push(member.clone()),
                ColumnSource::TimeOf(name) => {
                    dates.insert(name.clone());
                    named.insert(name.clone(), member.clone());
                }
                ColumnSource::Named(name) => {
                    named.insert(name.clone(), member.clone());
                }
            }
        }
        let time = time.unwrap_or_else(|| {
            times.push((TIME.to_owned(), 0));
            TIME.to_owned()
        });
        let columns = settings.columns.keys().chain([&time]);
        let columns = columns.filter_map(|member| member.split('.').next());
        let mut taken: HashSet<_> = columns.map(str::to_owned).collect();
        taken.insert("_id".to_owned());
        let mut tags = BTreeMap::new();
        for tag in &settings.tags {
            let member = named.remove(tag).unwrap_or_else(|| match escaped(tag) {
                own if taken.contains(&*own) => escaped_further(tag),
                own => own.into_owned(),
            });
            tags.insert(tag.clone(), member);
        }
        let first = |member: &String| member.split('.').next().map(str::to_owned);
        taken.extend(tags.values().filter_map(first));
        Self {
            pipeline: settings.pipeline.clone(),
            tags,
            time,
            times,
            now,
            fields: named,
            dates,
            taken,
        }
    }

    /// Tags, in order, with their members.
    pub(super) fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tags
            .iter()
            .map(|(tag, member)| (tag.as_str(), member.as_str()))
    }

    pub(super) fn has_tag(&self, name: &str) -> bool {
        self.tags.contains_key(name)
    }

    /// The member of the row's time.
    pub(super) fn time(&self) -> &str {
        &self.time
    }

    /// The members that hold the time of a row, or one after it, with these times.
    pub(super) fn times_of(&self, time: Timestamp) -> impl Iterator<Item = (&str, Timestamp)> {
        let time = millis(time);
        let times = self.times.iter();
        times.map(move |(member, after)| {
            let at = Timestamp::from_millis(time.saturating_add(*after));
            (member.as_str(), at)
        })
    }

    /// The member of a field.
    pub(super) fn field<'a>(&'a self, name: &'a str) -> Cow<'a, str> {
        if let Some(member) = self.fields.get(name) {
            return Cow::Borrowed(member);
        }
        match escaped(name) {
            own if self.taken.contains(&*own) => Cow::Owned(escaped_further(name)),
            own => own,
        }
    }

    /// The first 12 bytes of the hash of a row's or a series' key, or of a field's name. The length goes before each
    /// text, so that no two keys have the same bytes.
    fn hash<'a>(&self, kind: &str, parts: impl Iterator<Item = &'a str>) -> Sha256 {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(kind);
        add(&self.pipeline);
        parts.for_each(add);
        hash
    }

    pub(super) fn series_id(&self, tags: &Tags<'_>) -> DocumentId {
        shortened(self.hash("series", texts(tags)))
    }

    /// The `_id` of the document of a row.
    pub(super) fn row_id(&self, row: &Row<'_>) -> ObjectId {
        let mut hash = self.hash("row", texts(&row.tags));
        hash.update(millis(row.timestamp).to_le_bytes());
        ObjectId::from_bytes(shortened(hash))
    }

    pub(super) fn field_id(&self, name: &str) -> DocumentId {
        shortened(self.hash("field", [name].into_iter()))
    }

    /// The time of a document.
    pub(super) fn time_of(&self, document: &RawDocument) -> Option<Timestamp> {
        match member(document, &self.time)? {
            RawBsonRef::DateTime(time) => Some(Timestamp::from_millis(time.timestamp_millis())),
            _ => None,
        }
    }

    /// The value of a field of a document.
    pub(super) fn value_of(&self, document: &RawDocument, field: &str) -> Option<Value> {
        self.value(field, member(document, &self.field(field))?)
    }

    /// Says why a row can't be a document.
    fn check(&self, row: &Row<'_>) -> Result<(), String> {
        if row.fields.is_empty() {
            return Err("there is no field in it".to_owned());
        }
        if !row.tags.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(
                "its tags aren't in the order of their names, or one is there twice".into(),
            );
        }
        let has = |date: &String| row.fields.iter().any(|(name, _)| name.as_str() == date);
        if let Some(missing) = self.dates.iter().find(|date| !has(date)) {
            return Err(format!("there is no {missing:?}, which is a date"));
        }
        Ok(())
    }

    /// The time of a field that is stored as a date, rounded down to milliseconds; `None` for other fields. An error
    /// says why it is no time.
    pub(super) fn date_of(&self, field: &str, value: &Value) -> Option<Result<Timestamp, String>> {
        let is_date = self.dates.contains(field);
        is_date.then(|| {
            let Value::String(text) = value else {
                return Err(format!("{field:?} is no string, and so no time"));
            };
            let time = Timestamp::parse(text);
            time.map(|time| Timestamp::from_millis(millis(time)))
                .map_err(|error| format!("{field:?} is {text:?}, which is {error}"))
        })
    }

    /// A field's stored value. Dates are strings again.
    fn value(&self, field: &str, stored: RawBsonRef<'_>) -> Option<Value> {
        match stored {
            RawBsonRef::DateTime(time) if self.dates.contains(field) => {
                let time = Timestamp::from_millis(time.timestamp_millis());
                Some(Value::String(time.to_string()))
            }
            stored => value(stored),
        }
    }

    /// The values of a document's fields, ordered by name.
    pub(super) fn values(&self, document: &RawDocument) -> Vec<(Name<'static>, Value)> {
        let mut values = Vec::new();
        for (key, found) in document.into_iter().flatten() {
            if self.taken.contains(key.as_str()) {
                continue;
            }
            let name = unescaped(key.as_str()).map(Cow::into_owned);
            if let Some(name) = name.and_then(|name| Name::new(name).ok()) {
                values.extend(value(found).map(|value| (name, value)));
            }
        }
        for (name, path) in &self.fields {
            let found = member(document, path).and_then(|stored| self.value(name, stored));
            if let (Some(value), Ok(name)) = (found, Name::new(name.clone())) {
                values.push((name, value));
            }
        }
        values.sort_by(|one, other| one.0.cmp(&other.0));
        values
    }
}

fn texts<'a>(tags: &'a Tags<'_>) -> impl Iterator<Item = &'a str> {
    tags.iter()
        .flat_map(|(name, value)| [name.as_str(), value.as_str()])
}

fn shortened(hash: Sha256) -> DocumentId {
    let mut id = DocumentId::default();
    for (byte, of_hash) in std::iter::zip(&mut id, hash.finalize()) {
        *byte = of_hash;
    }
    id
}

/// What a path of names with points in between leads to.
pub(super) fn member<'a>(document: &'a RawDocument, path: &str) -> Option<RawBsonRef<'a>> {
    match path.split_once('.') {
        None => document.get(path).ok().flatten(),
        Some((first, rest)) => member(document.get_document(first).ok()?, rest),
    }
}

fn value(stored: RawBsonRef<'_>) -> Option<Value> {
    match stored {
        RawBsonRef::Double(value) => Some(Value::Float(value)),
        RawBsonRef::Int64(value) => Some(Value::Integer(value)),
        RawBsonRef::Int32(value) => Some(Value::Integer(value.into())),
        RawBsonRef::Boolean(value) => Some(Value::Bool(value)),
        RawBsonRef::String(text) => Some(Value::String(text.to_owned())),
        _ => None,
    }
}

/// A row as an update.
pub(super) struct Encoded {
    pub(super) series: DocumentId,
    pub(super) statement: RawDocumentBuf,
}

/// Makes updates of the rows of a write.
pub(super) struct DocumentEncoder<'a> {
    documents: &'a Documents,
    now: DateTime,
    /// The members of the fields that were there before.
    members: HashMap<String, String>,
}

impl<'a> DocumentEncoder<'a> {
    pub(super) fn new(documents: &'a Documents, now: Timestamp) -> Self {
        Self {
            documents,
            now: DateTime::from_millis(millis(now)),
            members: HashMap::new(),
        }
    }

    /// Makes an update of a row, or says why it can't be stored.
    pub(super) fn encode(&mut self, row: &Row<'_>) -> Result<Encoded, String> {
        let documents = self.documents;
        documents.check(row)?;
        let time = millis(row.timestamp);
        let mut insert = RawDocumentBuf::new();
        for (name, value) in &row.tags {
            let Some(member) = documents.tags.get(name.as_str()) else {
                return Err(format!(
                    "the pipeline has no tag {name:?}",
                    name = name.as_str()
                ));
            };
            insert.append(key(member)?, value.as_str());
        }
        for (member, after) in &documents.times {
            insert.append(
                key(member)?,
                DateTime::from_millis(time.saturating_add(*after)),
            );
        }
        for member in &documents.now {
            insert.append(key(member)?, self.now);
        }
        let mut set = RawDocumentBuf::new();
        for (name, value) in &row.fields {
            let name = name.as_str();
            if !self.members.contains_key(name) {
                let member = documents.field(name).into_owned();
                self.members.insert(name.to_owned(), member);
            }
            let member = key(self.members.get(name).map_or(name, String::as_str))?;
            if let Some(date) = documents.date_of(name, value) {
                set.append(member, DateTime::from_millis(millis(date?)));
                continue;
            }
            match value {
                Value::Float(value) if !value.is_finite() => {
                    return Err(format!(
                        "{name:?} is {value}, which is no number that can be stored"
                    ));
                }
                Value::Float(value) => set.append(member, *value),
                Value::Integer(value) => set.append(member, *value),
                Value::Bool(value) => set.append(member, *value),
                Value::String(text) => set.append(member, text.as_str()),
            }
        }
        let statement = rawdoc! {
            "q": { "_id": documents.row_id(row) },
            "u": { "$set": set, "$setOnInsert": insert },
            "upsert": true,
        };
        let size = statement.as_bytes().len();
        if size > MAX_COMMAND {
            return Err(format!(
                "it has {size} bytes, and a document at most {MAX_COMMAND}"
            ));
        }
        Ok(Encoded {
            series: documents.series_id(&row.tags),
            statement,
        })
    }
}

fn key(member: &str) -> Result<&CStr, String> {
    member
        .try_into()
        .map_err(|_| format!("{member:?} has the character NUL"))
}

/// Milliseconds since 1970, rounded down.
fn millis(time: Timestamp) -> i64 {
    time.nanos().div_euclid(NANOS_PER_MILLI)
}

/// A date of the server that isn't after this time.
pub(super) fn date_until(time: Timestamp) -> DateTime {
    DateTime::from_millis(millis(time))
}

/// A date of the server that isn't before this time.
pub(super) fn date_from(time: Timestamp) -> DateTime {
    let whole = time.nanos().div_euclid(NANOS_PER_MILLI);
    let is_rest = time.nanos().rem_euclid(NANOS_PER_MILLI) != 0;
    DateTime::from_millis(whole + i64::from(is_rest))
}
