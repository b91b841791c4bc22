//! Elements of the other pipelines: `{"tags":{…},"timestamp":"…","values":{…}}`, in the raw list also
//! `ingest_time`. Integers have no point and no exponent, floats always have one.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::json::{JsonString, starts_object, write_member, write_string};
use super::{ElementError, RawSample, compact};
use crate::name::{Name, TIMESTAMP};
use crate::row::Row;
use crate::sample::{Sample, Tags, Value};
use crate::time::Timestamp;

const INGEST_TIME: &str = "ingest_time";

/// Appends the element of a sample that arrived at `ingest_time` to `out`.
pub fn encode_sample(sample: &Sample<'_>, ingest_time: Timestamp, out: &mut Vec<u8>) {
    let values = sample.values.iter().map(|(name, value)| (&**name, value));
    encode(&series_key(&sample.tags), sample.timestamp, values, out);
    out.extend_from_slice(b",\"ingest_time\":\"");
    ingest_time.write_to(out);
    out.extend_from_slice(b"\"}");
}

pub(super) fn encode_row<'a>(
    series: &str,
    timestamp: Timestamp,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
    out: &mut Vec<u8>,
) {
    encode(series, timestamp, fields, out);
    out.push(b'}');
}

/// Like [`encode_row`], for some of the pipeline's stores.
pub(super) fn encode_row_for<'a>(
    series: &str,
    timestamp: Timestamp,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
    stores: &[String],
    out: &mut Vec<u8>,
) {
    encode(series, timestamp, fields, out);
    for (place, store) in stores.iter().enumerate() {
        out.extend_from_slice(if place == 0 { b",\"stores\":[" } else { b"," });
        write_string(store, out);
    }
    out.extend_from_slice(if stores.is_empty() { b"}" } else { b"]}" });
}

/// The stores that a row is for; empty if it is for all.
pub(super) fn stores(element: &[u8]) -> Result<Vec<String>, ElementError> {
    #[derive(Deserialize)]
    struct RowStores {
        #[serde(default)]
        stores: Vec<String>,
    }
    // Other rows end with the braces of their values and of the element.
    if !element.ends_with(b"]}") {
        return Ok(Vec::new());
    }
    let row: RowStores = serde_json::from_slice(element).map_err(ElementError::new)?;
    Ok(row.stores)
}

/// All but the last brace. The key of a series is the JSON of its tags.
fn encode<'a>(
    series: &str,
    timestamp: Timestamp,
    values: impl Iterator<Item = (&'a str, &'a Value)>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"tags\":");
    out.extend_from_slice(series.as_bytes());
    out.extend_from_slice(b",\"timestamp\":\"");
    timestamp.write_to(out);
    out.extend_from_slice(b"\",\"values\":");
    let mut before = b'{';
    for (name, value) in values {
        out.push(before);
        before = b',';
        write_member(name, value, out);
    }
    out.push(b'}');
}

fn write_tags(tags: &[(Name<'_>, Name<'_>)], out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, (name, value)) in tags.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        write_string(value, out);
    }
    out.push(b'}');
}

pub(super) fn series_key(tags: &[(Name<'_>, Name<'_>)]) -> String {
    let mut key = Vec::with_capacity(48);
    write_tags(tags, &mut key);
    String::from_utf8(key).unwrap_or_default()
}

pub(super) fn tags(key: &str) -> Result<Tags<'_>, ElementError> {
    let TagsElement(tags) = serde_json::from_str(key).map_err(ElementError::new)?;
    Ok(tags)
}

pub(super) fn decode_sample(element: &[u8]) -> Result<RawSample<'_>, ElementError> {
    let members = decode(element)?;
    let ingest_time = members.ingest_time;
    Ok(RawSample {
        series: series_key(&members.tags).into(),
        timestamp: members.timestamp,
        ingest_time: ingest_time.ok_or_else(|| missing(INGEST_TIME))?,
        values: members.values.into(),
    })
}

pub(super) fn decode_row(element: &[u8]) -> Result<Row<'_>, ElementError> {
    let members = decode(element)?;
    Ok(Row {
        tags: members.tags,
        timestamp: members.timestamp,
        fields: members.values,
    })
}

fn decode(element: &[u8]) -> Result<Members<'_>, ElementError> {
    match compact::tagged::decode(element) {
        Some(members) => Ok(members),
        None => decode_json(element),
    }
}

/// Reads any JSON, with members in any order.
pub(super) fn decode_json(element: &[u8]) -> Result<Members<'_>, ElementError> {
    // A derived reader would take an array of the members' values, too.
    if !starts_object(element) {
        return Err(ElementError::new("the element isn't a JSON object"));
    }
    let raw: RawElement<'_> = serde_json::from_slice(element).map_err(ElementError::new)?;
    let time = |name: &str, text: &JsonString<'_>| {
        text.time::<serde_json::Error>(name)
            .map_err(ElementError::new)
    };
    let ingest_time = raw.ingest_time.as_ref();
    if raw.values.0.is_empty() {
        return Err(ElementError::new("it has no value"));
    }
    Ok(Members {
        tags: raw.tags.0,
        timestamp: time(TIMESTAMP, &raw.timestamp)?,
        ingest_time: ingest_time
            .map(|text| time(INGEST_TIME, text))
            .transpose()?,
        values: raw.values.0,
    })
}

fn missing(member: &str) -> ElementError {
    ElementError(format!("missing field `{member}`"))
}

#[derive(Debug, PartialEq)]
pub(super) struct Members<'a> {
    pub(super) tags: Tags<'a>,
    pub(super) timestamp: Timestamp,
    pub(super) ingest_time: Option<Timestamp>,
    pub(super) values: Vec<(Name<'a>, Value)>,
}

#[derive(Deserialize)]
struct RawElement<'a> {
    #[serde(borrow)]
    tags: TagsElement<'a>,
    #[serde(borrow)]
    timestamp: JsonString<'a>,
    #[serde(borrow, default)]
    ingest_time: Option<JsonString<'a>>,
    #[serde(borrow)]
    values: ValuesElement<'a>,
}

/// Tags in any order; they are sorted.
struct TagsElement<'a>(Tags<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for TagsElement<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TagsVisitor;
        impl<'de> Visitor<'de> for TagsVisitor {
            type Value = TagsElement<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tags = Tags::new();
                while let Some(name) = map.next_key::<JsonString<'de>>()? {
                    let name = name.name("a tag's name")?;
                    let value = map.next_value::<JsonString<'de>>()?.name("a tag's value")?;
                    tags.push((name, value));
                }
                tags.sort_unstable();
                if tags.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                    return Err(A::Error::custom("a tag occurs twice"));
                }
                Ok(TagsElement(tags))
            }
        }
        deserializer.deserialize_map(TagsVisitor)
    }
}

struct ValuesElement<'a>(Vec<(Name<'a>, Value)>);

impl<'de: 'a, 'a> Deserialize<'de> for ValuesElement<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValuesVisitor;
        impl<'de> Visitor<'de> for ValuesVisitor {
            type Value = ValuesElement<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers, booleans and strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(name) = map.next_key::<JsonString<'de>>()? {
                    let name = name.name("a field's name")?;
                    if values.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom("a field occurs twice"));
                    }
                    let ValueElement(value) = map.next_value()?;
                    values.push((name, value));
                }
                Ok(ValuesElement(values))
            }
        }
        deserializer.deserialize_map(ValuesVisitor)
    }
}

struct ValueElement(Value);

impl<'de> Deserialize<'de> for ValueElement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl Visitor<'_> for ValueVisitor {
            type Value = ValueElement;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a boolean or a string")
            }
            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(ValueElement(Value::Float(value + 0.0)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(ValueElement(Value::Integer(value)))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                let value = i64::try_from(value).map_err(E::custom)?;
                Ok(ValueElement(Value::Integer(value)))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(ValueElement(Value::Bool(value)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(ValueElement(Value::String(value.to_owned())))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}
