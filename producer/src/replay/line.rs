//! One line of a recording: what is published where, and when it was.

use std::borrow::Cow;

use model::element::starts_object;
use model::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

#[cfg(test)]
mod tests;

/// The longest topic of MQTT, in bytes.
const MAX_TOPIC: usize = 65_535;
/// So many levels are below a topic's first.
const MAX_SLASHES: usize = 200;

/// A line that can be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where to.
    pub topic: String,
    /// What, byte by byte.
    pub payload: Vec<u8>,
    /// The payload's own timestamp, if it has one that can be read.
    pub timestamp: Option<Timestamp>,
}

/// Why a line can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadLine {
    /// Longer than a line may be.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// Not text.
    #[error("it isn't UTF-8")]
    Encoding,
    /// No JSON, or without what is needed.
    #[error("it is no JSON object with a topic, which is a string, and a payload: {0}")]
    Shape(String),
    /// A topic that nothing can be published to.
    #[error("nothing can be published to the topic {0:?}")]
    Topic(String),
}

#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct Stamped<'a> {
    #[serde(borrow)]
    timestamp: &'a RawValue,
}

impl Line {
    /// Reads a line.
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let text = std::str::from_utf8(line).map_err(|_| BadLine::Encoding)?;
        // A derived reader would take an array of the members' values, too.
        if !starts_object(line) {
            return Err(BadLine::Shape("it doesn't start with {".to_owned()));
        }
        let shape = |error: serde_json::Error| BadLine::Shape(error.to_string());
        let raw: RawLine<'_> = serde_json::from_str(text).map_err(shape)?;
        if !is_publishable(&raw.topic) {
            return Err(BadLine::Topic(raw.topic.into_owned()));
        }
        let payload: Cow<'_, str> = match raw.payload.get() {
            text if text.starts_with('"') => serde_json::from_str(text).map_err(shape)?,
            json => Cow::Borrowed(json),
        };
        Ok(Self {
            topic: raw.topic.into_owned(),
            timestamp: timestamp(&payload),
            payload: payload.into_owned().into_bytes(),
        })
    }
}

/// The timestamp of a payload, in the forms that a reading's may have.
fn timestamp(payload: &str) -> Option<Timestamp> {
    if !starts_object(payload.as_bytes()) {
        return None;
    }
    let stamped: Stamped<'_> = serde_json::from_str(payload).ok()?;
    let raw = stamped.timestamp.get();
    if raw.starts_with('"') {
        let text: Cow<'_, str> = serde_json::from_str(raw).ok()?;
        return Timestamp::parse(&text).ok();
    }
    Timestamp::parse_number(raw).ok()
}

/// Whether a broker takes messages for this topic. One that gets a character that MQTT advises
/// against, or more levels than Mosquitto has room for, may end the connection, and would at each
/// try.
fn is_publishable(topic: &str) -> bool {
    let refused = |c: char| {
        let code = u32::from(c);
        c.is_control()
            || matches!(c, '+' | '#')
            || (0xfdd0..=0xfdef).contains(&code)
            || code & 0xfffe == 0xfffe
    };
    (1..=MAX_TOPIC).contains(&topic.len())
        && topic.matches('/').count() <= MAX_SLASHES
        && !topic.contains(refused)
}
