//! Decodes a message into a reading or a rejection.

use std::borrow::Cow;
use std::fmt::Display;

use model::dead_letter::{Reason, Rejection};
use model::element::starts_object;
use model::reading::Reading;
use model::time::{TimeError, Timestamp};
use model::topic::{self, TopicError};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::settings::ReadingLimits;

#[cfg(test)]
mod tests;

/// The payload `{"timestamp": …, "value": …}`. The members are kept as raw JSON, so that a number too
/// large for a double has another reason than invalid JSON.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// Decodes a message that arrived at `arrived`. Unknown members are ignored. Without a timestamp, or with
/// null, the timestamp is the arrival.
pub fn decode<'a>(
    topic: &'a str,
    payload: &'a [u8],
    arrived: Timestamp,
    limits: &ReadingLimits,
) -> Result<Reading<'a>, Rejection> {
    decode_again(topic, payload, arrived, arrived, limits)
}

/// Like [`decode`], for a message that arrived at `arrived` and is replayed `now`. The default timestamp
/// is the arrival; the limits are relative to `now`.
pub fn decode_again<'a>(
    topic: &'a str,
    payload: &'a [u8],
    arrived: Timestamp,
    now: Timestamp,
    limits: &ReadingLimits,
) -> Result<Reading<'a>, Rejection> {
    if payload.len() > limits.max_payload {
        let detail = format!("the payload has more than {} bytes", limits.max_payload);
        return Err(Rejection::new(Reason::TooLarge, detail));
    }
    let (rig_id, sensor) = topic::parse(topic).map_err(|error| match error {
        TopicError::Shape => Rejection::new(Reason::BadTopic, error),
        TopicError::Rig(_) | TopicError::Sensor(_) => Rejection::new(Reason::BadName, error),
    })?;
    let payload = parse(payload)?;
    let value = value(payload.value)?;
    let timestamp = match payload.timestamp {
        Some(raw) if raw.get() != "null" => timestamp(raw.get())?,
        _ => arrived,
    };
    limits.times.limits().check(timestamp, now)?;
    Ok(Reading {
        rig_id,
        sensor,
        timestamp,
        value,
        ingest_time: now,
    })
}

fn parse(payload: &[u8]) -> Result<Payload<'_>, Rejection> {
    let not_json = |error: &dyn Display| Rejection::new(Reason::NotJson, error);
    let text = std::str::from_utf8(payload).map_err(|error| not_json(&error))?;
    if starts_object(payload) {
        return serde_json::from_str(text).map_err(|error| not_json(&error));
    }
    // A derived deserializer would accept an array, too; and the two errors have different remedies.
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Err(Rejection::new(
            Reason::NotObject,
            "the payload is JSON, but no object",
        )),
        Err(error) => Err(not_json(&error)),
    }
}

/// A finite number, or a string that holds one.
fn value(raw: Option<&RawValue>) -> Result<f64, Rejection> {
    let raw = raw.map_or("null", RawValue::get);
    let bad = |what: &str| Rejection::new(Reason::BadValue, format!("{what}: {}", clipped(raw)));
    let number: f64 = match raw.as_bytes().first() {
        Some(b'n') => return Err(Rejection::new(Reason::MissingValue, "there is no value")),
        Some(b'"') => {
            let text: Cow<'_, str> =
                serde_json::from_str(raw).map_err(|_| bad("the value can't be read"))?;
            // Rust also parses words like inf and nan, which aren't finite.
            text.trim()
                .parse()
                .map_err(|_| bad("the value is no number"))?
        }
        Some(b'-' | b'0'..=b'9') => raw.parse().map_err(|_| bad("the value is no number"))?,
        _ => return Err(bad("the value is no number")),
    };
    if !number.is_finite() {
        return Err(bad("the value isn't finite"));
    }
    // Negative zero becomes zero.
    Ok(number + 0.0)
}

fn timestamp(raw: &str) -> Result<Timestamp, Rejection> {
    let read = match raw.as_bytes().first() {
        Some(b'"') => {
            let text: Result<Cow<'_, str>, _> = serde_json::from_str(raw);
            text.map_err(|_| TimeError::Syntax)
                .and_then(|text| Timestamp::parse(&text))
        }
        Some(b'-' | b'0'..=b'9') => raw
            .parse()
            .map_err(|_| TimeError::Syntax)
            .and_then(Timestamp::from_number),
        _ => Err(TimeError::Syntax),
    };
    read.map_err(|error| {
        let reason = match error {
            TimeError::Syntax => Reason::BadTimestamp,
            TimeError::BeforeRange => Reason::Past,
            TimeError::AfterRange => Reason::Future,
        };
        Rejection::new(reason, format!("timestamp {} is {error}", clipped(raw)))
    })
}

/// The beginning of a string, for error messages.
fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}
