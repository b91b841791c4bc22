//! What the layouts of elements have in common.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::name::Name;
use crate::sample::Value;
use crate::time::Timestamp;

/// Appends the shortest number that reads back as the same finite number. It has a point or an exponent.
pub fn write_number(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

/// Appends a JSON string with its quotes.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = text;
    while let Some(place) = plain
        .bytes()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
    {
        let (before, from) = plain.as_bytes().split_at(place);
        out.extend_from_slice(before);
        match from[0] {
            b'\n' => out.extend_from_slice(b"\\n"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        plain = &plain[place + 1..];
    }
    out.extend_from_slice(plain.as_bytes());
    out.push(b'"');
}

/// Appends a field's name and value as a member of an object.
pub(super) fn write_member(name: &str, value: &Value, out: &mut Vec<u8>) {
    write_string(name, out);
    out.push(b':');
    write_value(value, out);
}

/// Appends a value as JSON. An integer has no point and no exponent, a float always has one.
pub fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Float(value) => write_number(*value, out),
        Value::Integer(value) => {
            out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
        }
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::String(value) => write_string(value, out),
    }
}

/// Whether the first byte that isn't white space opens an object.
#[must_use]
pub fn starts_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// A string that borrows from the input where it has no escapes.
pub(super) struct JsonString<'a>(pub(super) Cow<'a, str>);

impl<'a> JsonString<'a> {
    /// The string as a name, `what` names it in the error.
    pub(super) fn name<E: Error>(self, what: &str) -> Result<Name<'a>, E> {
        Name::new(self.0).map_err(|error| E::custom(format!("{what} {error}")))
    }

    /// The string as a time, `what` names it in the error.
    pub(super) fn time<E: Error>(&self, what: &str) -> Result<Timestamp, E> {
        Timestamp::parse(&self.0).map_err(|error| E::custom(format!("{what}: {error}")))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonString<'a> {
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
