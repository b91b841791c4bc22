//! The JSON of list elements: readings in `raw_events`, rows in `normalized_events`.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::name::{Name, RIG_ID, SensorName, TIMESTAMP};
use crate::reading::Reading;
use crate::row::Row;
use crate::time::Timestamp;

#[cfg(test)]
mod tests;

/// Why a list element can't be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ElementError(String);

impl ElementError {
    fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

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
    out.extend_from_slice(b"{\"rig_id\":\"");
    out.extend_from_slice(reading.rig_id.as_bytes());
    out.extend_from_slice(b"\",\"sensor\":\"");
    out.extend_from_slice(reading.sensor.as_bytes());
    out.extend_from_slice(b"\",\"timestamp\":\"");
    reading.timestamp.write_to(out);
    out.extend_from_slice(b"\",\"value\":");
    write_number(reading.value, out);
    out.extend_from_slice(b",\"ingest_time\":\"");
    reading.ingest_time.write_to(out);
    out.extend_from_slice(b"\"}");
}

/// Reads a reading's element; unknown members are ignored.
pub fn decode_reading(element: &[u8]) -> Result<Reading<'_>, ElementError> {
    // A derived reader would take an array of the members' values, too.
    if !starts_object(element) {
        return Err(ElementError::new("the element isn't a JSON object"));
    }
    let raw: RawElement<'_> = serde_json::from_slice(element).map_err(ElementError::new)?;
    let rig_id = Name::new(raw.rig_id).map_err(|error| ElementError(format!("rig_id {error}")))?;
    let sensor =
        SensorName::new(raw.sensor).map_err(|error| ElementError(format!("sensor {error}")))?;
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

/// Appends a row's element to `out`.
pub fn encode_row(row: &Row<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (name, value) in &row.tags {
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":\"");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(b"\"timestamp\":\"");
    row.timestamp.write_to(out);
    out.push(b'"');
    for (name, value) in &row.fields {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_number(*value, out);
    }
    out.push(b'}');
}

/// Reads a row's element: `rig_id`, `timestamp`, and at least one number.
pub fn decode_row(element: &[u8]) -> Result<Row<'_>, ElementError> {
    let RowElement(row) = serde_json::from_slice(element).map_err(ElementError::new)?;
    Ok(row)
}

/// Appends the shortest number that reads back as the same finite number.
pub fn write_number(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

/// Whether the first byte that isn't white space opens an object.
#[must_use]
pub fn starts_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
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
        let mut fields: Vec<(SensorName<'de>, f64)> = Vec::with_capacity(6);
        while let Some(JsonString(name)) = map.next_key()? {
            let twice = match &*name {
                RIG_ID => {
                    let JsonString(rig) = map.next_value()?;
                    let rig =
                        Name::new(rig).map_err(|e| A::Error::custom(format!("rig_id {e}")))?;
                    rig_id.replace(rig).is_some()
                }
                TIMESTAMP => {
                    let JsonString(text) = map.next_value()?;
                    let time = Timestamp::parse(&text)
                        .map_err(|e| A::Error::custom(format!("timestamp: {e}")))?;
                    timestamp.replace(time).is_some()
                }
                _ => {
                    let name = SensorName::new(name)
                        .map_err(|e| A::Error::custom(format!("a member's name {e}")))?;
                    let value: f64 = map.next_value()?;
                    let twice = fields.iter().any(|(other, _)| *other == name);
                    fields.push((name, value + 0.0));
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

/// A string that borrows from the input where it has no escapes.
struct JsonString<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for JsonString<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringVisitor;
        impl<'de> Visitor<'de> for StringVisitor {
            type Value = JsonString<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonString(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonString(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(StringVisitor)
    }
}
