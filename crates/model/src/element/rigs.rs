//! Elements of the pipeline `rigs`: flat objects.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::json::{JsonString, starts_object, write_member, write_number, write_string};
use super::{ElementError, RawSample, compact};
use crate::name::{Name, RIG_ID, TIMESTAMP};
use crate::reading::Reading;
use crate::row::Row;
use crate::sample::{Tags, Value};
use crate::time::Timestamp;

#[derive(Deserialize)]
struct RawElement<'a> {
    #[serde(borrow)]
    rig_id: Cow<'a, str>,
    #[serde(borrow)]
    sensor: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    value: f64,
    #[serde(borrow)]
    ingest_time: Cow<'a, str>,
}

/// Appends a reading's element to `out`.
pub fn encode_reading(reading: &Reading<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"rig_id\":");
    write_string(&reading.rig_id, out);
    out.extend_from_slice(b",\"sensor\":");
    write_string(&reading.sensor, out);
    out.extend_from_slice(b",\"timestamp\":\"");
    reading.timestamp.write_to(out);
    out.extend_from_slice(b"\",\"value\":");
    write_number(reading.value, out);
    out.extend_from_slice(b",\"ingest_time\":\"");
    reading.ingest_time.write_to(out);
    out.extend_from_slice(b"\"}");
}

/// Reads a reading's element; unknown members are ignored.
pub fn decode_reading(element: &[u8]) -> Result<Reading<'_>, ElementError> {
    match compact::rigs::decode_reading(element) {
        Some(reading) => Ok(reading),
        None => decode_reading_json(element),
    }
}

/// Reads any JSON, with members in any order.
pub(super) fn decode_reading_json(element: &[u8]) -> Result<Reading<'_>, ElementError> {
    // A derived reader would take an array of the members' values, too.
    if !starts_object(element) {
        return Err(ElementError::new("the element isn't a JSON object"));
    }
    let raw: RawElement<'_> = serde_json::from_slice(element).map_err(ElementError::new)?;
    let rig_id =
        Name::strict(raw.rig_id).map_err(|error| ElementError(format!("rig_id {error}")))?;
    let sensor =
        Name::sensor(raw.sensor).map_err(|error| ElementError(format!("sensor {error}")))?;
    let time = |name: &str, text: &str| {
        Timestamp::parse(text).map_err(|error| ElementError(format!("{name}: {error}")))
    };
    Ok(Reading {
        timestamp: time(TIMESTAMP, &raw.timestamp)?,
        ingest_time: time("ingest_time", &raw.ingest_time)?,
        rig_id,
        sensor,
        value: raw.value + 0.0,
    })
}

pub(super) fn decode_sample(element: &[u8]) -> Result<RawSample<'_>, ElementError> {
    let reading = decode_reading(element)?;
    Ok(RawSample {
        series: reading.rig_id.into_inner(),
        timestamp: reading.timestamp,
        ingest_time: reading.ingest_time,
        values: [(reading.sensor, Value::Float(reading.value))].into(),
    })
}

pub(super) fn encode_row<'a>(
    rig_id: &str,
    timestamp: Timestamp,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"rig_id\":");
    write_string(rig_id, out);
    out.extend_from_slice(b",\"timestamp\":\"");
    timestamp.write_to(out);
    out.push(b'"');
    for (name, value) in fields {
        out.push(b',');
        write_member(name, value, out);
    }
    out.push(b'}');
}

pub(super) fn decode_row(element: &[u8]) -> Result<Row<'_>, ElementError> {
    match compact::rigs::decode_row(element) {
        Some(row) => Ok(row),
        None => decode_row_json(element),
    }
}

/// Reads any JSON, with members in any order.
pub(super) fn decode_row_json(element: &[u8]) -> Result<Row<'_>, ElementError> {
    let RowElement(row) = serde_json::from_slice(element).map_err(ElementError::new)?;
    Ok(row)
}

pub(super) fn tags(rig: &str) -> Result<Tags<'_>, ElementError> {
    let rig = Name::strict(rig).map_err(ElementError::new)?;
    Ok(vec![(Name::RIG_ID, rig)])
}

struct RowElement<'a>(Row<'a>);

impl<'de> Deserialize<'de> for RowElement<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = RowElement<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with rig_id, timestamp and numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut rig_id, mut timestamp) = (None, None);
        let mut fields: Vec<(Name<'de>, Value)> = Vec::with_capacity(6);
        while let Some(JsonString(name)) = map.next_key()? {
            let twice = match &*name {
                RIG_ID => {
                    let JsonString(rig) = map.next_value()?;
                    let rig =
                        Name::strict(rig).map_err(|e| A::Error::custom(format!("rig_id {e}")))?;
                    rig_id.replace(rig).is_some()
                }
                TIMESTAMP => {
                    let time = map.next_value::<JsonString<'_>>()?.time(TIMESTAMP)?;
                    timestamp.replace(time).is_some()
                }
                _ => {
                    let name = Name::sensor(name)
                        .map_err(|e| A::Error::custom(format!("a member's name {e}")))?;
                    let value: f64 = map.next_value()?;
                    let twice = fields.iter().any(|(other, _)| *other == name);
                    fields.push((name, Value::Float(value + 0.0)));
                    twice
                }
            };
            if twice {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        let rig_id = rig_id.ok_or_else(|| A::Error::missing_field(RIG_ID))?;
        let timestamp = timestamp.ok_or_else(|| A::Error::missing_field(TIMESTAMP))?;
        if fields.is_empty() {
            return Err(A::Error::custom("it has no field"));
        }
        Ok(RowElement(Row {
            fields,
            ..Row::of_rig(rig_id, timestamp)
        }))
    }
}
