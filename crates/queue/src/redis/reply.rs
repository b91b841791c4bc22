//! Parses Redis's replies.

use model::time::Timestamp;
use redis::Value;

use crate::changes::State;
use crate::error::{Cause, QueueError};

/// A script's reply.
#[derive(Debug)]
pub(super) enum Reply {
    Ok(Value),
    Full(Value),
    Moved,
    Held,
    Fenced,
    Shifted,
    Conflict(Value),
    Partitions(Value),
    Owned(Value),
    WrongType(Value),
}

/// The error for a reply that no script or command returns.
pub(super) fn unexpected(reply: impl std::fmt::Debug) -> QueueError {
    QueueError::unavailable(Cause::Other, format!("unexpected reply: {reply:?}"))
}

/// Parses a script's reply: a status, and a value with some of them.
pub(super) fn script(value: Value) -> Result<Reply, QueueError> {
    let Value::Array(parts) = value else {
        return Err(unexpected(value));
    };
    let mut parts = parts.into_iter();
    let status = text(&parts.next().unwrap_or(Value::Nil))?;
    let value = parts.next().unwrap_or(Value::Nil);
    match status.as_str() {
        "ok" => Ok(Reply::Ok(value)),
        "full" => Ok(Reply::Full(value)),
        "moved" => Ok(Reply::Moved),
        "held" => Ok(Reply::Held),
        "fenced" => Ok(Reply::Fenced),
        "shifted" => Ok(Reply::Shifted),
        "conflict" => Ok(Reply::Conflict(value)),
        "partitions" => Ok(Reply::Partitions(value)),
        "owned" => Ok(Reply::Owned(value)),
        "wrongtype" => Ok(Reply::WrongType(value)),
        _ => Err(unexpected(status)),
    }
}

/// The result of a script that returns no value.
pub(super) fn done(reply: Reply, expected: u64) -> Result<(), QueueError> {
    match reply {
        Reply::Ok(_) => Ok(()),
        other => Err(refusal(other, expected)),
    }
}

/// The error for a script's refusal.
pub(super) fn refusal(reply: Reply, expected: u64) -> QueueError {
    match reply {
        Reply::Fenced => QueueError::Fenced,
        Reply::Shifted => QueueError::Shifted,
        Reply::Conflict(found) => {
            number(&found).map_or_else(|e| e, |found| QueueError::Conflict { expected, found })
        }
        Reply::WrongType(detail) => text(&detail).map_or_else(|e| e, QueueError::WrongType),
        Reply::Partitions(found) => incompatible(&found, |found| {
            format!("this queue has {found} partitions, this version supports one")
        }),
        Reply::Owned(found) => incompatible(&found, |found| {
            format!(
                "list {found}: give each PIPELINE its own RAW_QUEUE, NORMALIZED_QUEUE and \
                 DEAD_LETTER_QUEUE, or remove the list from the hash rigline:lists"
            )
        }),
        Reply::Ok(_) | Reply::Full(_) | Reply::Moved | Reply::Held => unexpected(reply),
    }
}

fn incompatible(found: &Value, message: impl FnOnce(String) -> String) -> QueueError {
    text(found).map_or_else(|e| e, |found| QueueError::Incompatible(message(found)))
}

pub(super) fn text(value: &Value) -> Result<String, QueueError> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        other => Err(unexpected(other)),
    }
}

pub(super) fn signed(value: &Value) -> Result<i64, QueueError> {
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

pub(super) fn number(value: &Value) -> Result<u64, QueueError> {
    u64::try_from(signed(value)?).map_err(|_| unexpected(value))
}

pub(super) fn count(value: &Value) -> Result<usize, QueueError> {
    usize::try_from(signed(value)?).map_err(|_| unexpected(value))
}

pub(super) fn items(value: Value) -> Result<Vec<Vec<u8>>, QueueError> {
    let Value::Array(values) = value else {
        return Err(unexpected(value));
    };
    values.into_iter().map(bytes).collect()
}

fn bytes(value: Value) -> Result<Vec<u8>, QueueError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        other => Err(unexpected(other)),
    }
}

pub(super) fn pairs(value: Value) -> Result<State, QueueError> {
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
pub(super) fn exactly<const N: usize>(value: Value) -> Result<[Value; N], QueueError> {
    let Value::Array(values) = value else {
        return Err(unexpected(value));
    };
    values.try_into().map_err(unexpected)
}

/// Parses the reply of TIME: seconds and microseconds.
pub(super) fn time(value: Value) -> Result<Timestamp, QueueError> {
    let [seconds, micros] = exactly(value)?;
    let micros = signed(&seconds)?
        .saturating_mul(1_000_000)
        .saturating_add(signed(&micros)?);
    Ok(Timestamp::from_nanos(micros.saturating_mul(1_000)))
}
