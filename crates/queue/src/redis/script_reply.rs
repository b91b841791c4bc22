//! Parses the replies of scripts.

use redis::Value;
use redis_client::reply::{number, text, unexpected};

use crate::error::QueueError;

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

/// Parses a script's reply: a status, and a value with some of them.
pub(super) fn script(value: Value) -> Result<Reply, QueueError> {
    let Value::Array(parts) = value else {
        return Err(unexpected(value).into());
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
        _ => Err(unexpected(status).into()),
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
            number(&found).map_or_else(Into::into, |found| QueueError::Conflict { expected, found })
        }
        Reply::WrongType(detail) => text(&detail).map_or_else(Into::into, QueueError::WrongType),
        Reply::Partitions(found) => incompatible(&found, |found| {
            format!("this queue has {found} partitions, this version supports one")
        }),
        Reply::Owned(found) => incompatible(&found, |found| {
            format!(
                "list {found}: give each PIPELINE its own RAW_QUEUE, NORMALIZED_QUEUE and \
                 DEAD_LETTER_QUEUE, or remove the list from the hash rigline:lists"
            )
        }),
        Reply::Ok(_) | Reply::Full(_) | Reply::Moved | Reply::Held => unexpected(reply).into(),
    }
}

fn incompatible(found: &Value, message: impl FnOnce(String) -> String) -> QueueError {
    text(found).map_or_else(Into::into, |found| QueueError::Incompatible(message(found)))
}
