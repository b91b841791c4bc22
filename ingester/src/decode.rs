//! Decodes a message into a reading or a rejection.

use std::borrow::Cow;
use std::fmt::Display;

use model::dead_letter::{Reason, Rejection};
use model::element::starts_object;
use model::reading::Reading;
use model::time::{TimeError, Timestamp};
use model::topic::{self, TopicError};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use self::payload::Payload;
use crate::settings::ReadingLimits;

mod payload;
#[cfg(test)]
mod tests;

/// Below this a number of a member that isn't called `timestamp` is no date, in seconds since 1970: it
/// may be the time since the device was switched on.
const EARLIEST: i64 = 1_000_000_000;

/// A reading, and what was left out of its message.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<'a> {
    /// The reading.
    pub reading: Reading<'a>,
    /// A member `ts`, `time` or `datetime` was ignored, because it holds no date.
    pub has_ignored_time: bool,
}

/// Decodes a message that arrived at `arrived`. The value is the member `value`; the timestamp is the
/// first of `timestamp`, `ts`, `time` and `datetime` that holds a date, otherwise the arrival. Other
/// members are ignored.
pub fn decode<'a>(
    topic: &'a str,
    payload: &'a [u8],
    arrived: Timestamp,
    limits: &ReadingLimits,
) -> Result<Decoded<'a>, Rejection> {
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
) -> Result<Decoded<'a>, Rejection> {
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
    let (time, has_ignored_time) = time_of(&payload)?;
    let timestamp = time.unwrap_or(arrived);
    limits.times.limits().check(timestamp, now)?;
    let reading = Reading {
        rig_id,
        sensor,
        timestamp,
        value,
        ingest_time: now,
    };
    Ok(Decoded {
        reading,
        has_ignored_time,
    })
}

/// The time of a payload, and whether a member was ignored.
fn time_of(payload: &Payload<'_>) -> Result<(Option<Timestamp>, bool), Rejection> {
    if let Some(raw) = payload.timestamp.filter(|raw| raw.get() != "null") {
        return Ok((Some(timestamp(raw.get())?), false));
    }
    let mut has_ignored = false;
    for raw in payload.other_times.into_iter().flatten() {
        let raw = raw.get();
        match parse_time(raw) {
            _ if raw == "null" => {}
            Ok(time) if raw.starts_with('"') || time.seconds() >= EARLIEST => {
                return Ok((Some(time), has_ignored));
            }
            Ok(_) | Err(TimeError::Syntax) => has_ignored = true,
            Err(_) => return Ok((Some(timestamp(raw)?), has_ignored)),
        }
    }
    Ok((None, has_ignored))
}

fn parse(payload: &[u8]) -> Result<Payload<'_>, Rejection> {
    let not_json = |error: &dyn Display| Rejection::new(Reason::NotJson, error);
    let text = std::str::from_utf8(payload).map_err(|error| not_json(&error))?;
    let not_json = |error: &dyn Display| match not_a_number(text) {
        Some(word) => not_json(&format_args!(
            "{word} is no JSON: a reading without a value is null, or isn't sent"
        )),
        None => not_json(error),
    };
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
    parse_time(raw).map_err(|error| {
        let reason = match error {
            TimeError::Syntax => Reason::BadTimestamp,
            TimeError::BeforeRange => Reason::Past,
            TimeError::AfterRange => Reason::Future,
        };
        Rejection::new(reason, format!("timestamp {} is {error}", clipped(raw)))
    })
}

fn parse_time(raw: &str) -> Result<Timestamp, TimeError> {
    match raw.as_bytes().first() {
        Some(b'"') => {
            let text: Result<Cow<'_, str>, _> = serde_json::from_str(raw);
            Timestamp::parse(&text.map_err(|_| TimeError::Syntax)?)
        }
        Some(b'-' | b'0'..=b'9') => Timestamp::parse_number(raw),
        _ => Err(TimeError::Syntax),
    }
}

/// A word like `NaN` that a payload has in the place of a number.
fn not_a_number(payload: &str) -> Option<&str> {
    payload.split(':').skip(1).find_map(|rest| {
        let word = rest.trim_start();
        let sign = usize::from(word.starts_with(['-', '+']));
        let letters = word[sign..].find(|c: char| !c.is_ascii_alphabetic());
        let word = &word[..letters.map_or(word.len(), |end| sign + end)];
        let names = ["nan", "inf", "infinity"];
        let is_name = |name: &&str| word[sign..].eq_ignore_ascii_case(name);
        names.iter().any(is_name).then_some(word)
    })
}

/// The beginning of a string, for error messages.
fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}
