//! Parses replies.

use model::time::Timestamp;
use redis::Value;

use crate::error::{Cause, RequestError};

/// Keys with their values.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The error for a reply that no script or command returns.
pub fn unexpected(reply: impl std::fmt::Debug) -> RequestError {
    RequestError::unavailable(Cause::Other, format!("unexpected reply: {reply:?}"))
}

/// A string, or a number as one.
pub fn text(value: &Value) -> Result<String, RequestError> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        other => Err(unexpected(other)),
    }
}

/// A number; 0 if there is none.
pub fn signed(value: &Value) -> Result<i64, RequestError> {
    match value {
        Value::Nil => Ok(0),
        Value::Int(number) => Ok(*number),
        Value::BulkString(bytes) => {
            let parsed = std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse().ok());
            parsed.ok_or_else(|| unexpected(value))
        }
        other => Err(unexpected(other)),
    }
}

/// A number that can't be negative.
pub fn number(value: &Value) -> Result<u64, RequestError> {
    u64::try_from(signed(value)?).map_err(|_| unexpected(value))
}

/// A number of things.
pub fn count(value: &Value) -> Result<usize, RequestError> {
    usize::try_from(signed(value)?).map_err(|_| unexpected(value))
}

/// The strings of an array.
pub fn items(value: Value) -> Result<Vec<Vec<u8>>, RequestError> {
    let Value::Array(values) = value else {
        return Err(unexpected(value));
    };
    values.into_iter().map(bytes).collect()
}

fn bytes(value: Value) -> Result<Vec<u8>, RequestError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        other => Err(unexpected(other)),
    }
}

/// Keys with their values, of a map or of an array in which they take turns.
pub fn pairs(value: Value) -> Result<Pairs, RequestError> {
    let flat = match value {
        Value::Map(pairs) => {
            return pairs
                .into_iter()
                .map(|(key, value)| Ok((bytes(key)?, bytes(value)?)))
                .collect();
        }
        flat => items(flat)?,
    };
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// The elements of an array of length `N`.
pub fn exactly<const N: usize>(value: Value) -> Result<[Value; N], RequestError> {
    let Value::Array(values) = value else {
        return Err(unexpected(value));
    };
    values.try_into().map_err(unexpected)
}

/// Parses the reply of TIME: seconds and microseconds.
pub fn time(value: Value) -> Result<Timestamp, RequestError> {
    let [seconds, micros] = exactly(value)?;
    let micros = signed(&seconds)?
        .saturating_mul(1_000_000)
        .saturating_add(signed(&micros)?);
    Ok(Timestamp::from_nanos(micros.saturating_mul(1_000)))
}
