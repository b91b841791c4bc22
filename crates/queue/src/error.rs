//! Errors of a queue, named by what the caller does next.

use std::fmt;

pub use redis_client::Cause;
use redis_client::RequestError;

/// Why a call to the queue failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Nothing was changed, and the call may succeed later. Retry after a wait.
    #[error("{cause}: {detail}")]
    Unavailable {
        /// The kind of failure.
        cause: Cause,
        /// The message of the server or the client.
        detail: String,
    },
    /// A write was sent without a reply, so it may have been carried out. Read the progress.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The lease has expired, or another consumer holds it. Discard the in-memory state and acquire it
    /// again.
    #[error("the lease is no longer held")]
    Fenced,
    /// The list isn't at the commit's number. Discard the in-memory state and acquire the lease again.
    #[error("the commit expected number {expected}, the list is at {found}")]
    Conflict {
        /// The number that the commit named.
        expected: u64,
        /// The number that the list is at.
        found: u64,
    },
    /// The head of the list isn't the one that was peeked at: another program pushed to it or popped from
    /// it. Discard the in-memory state and acquire the lease again.
    #[error("another program changed the head of the list; nothing was taken, reading it again")]
    Shifted,
    /// A key has another type. Nothing was changed. An operator has to act.
    #[error("wrong type of key: {0}; move it out of the way, nothing was changed")]
    WrongType(String),
    /// The server denies access. An operator has to act.
    #[error("access denied: {0}; check REDIS_USERNAME, REDIS_PASSWORD and the user's rights")]
    Denied(String),
    /// The server or the data can't be used with these settings. An operator has to act.
    #[error("{0}")]
    Incompatible(String),
}

impl From<RequestError> for QueueError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Unavailable {
                cause: Cause::OutOfMemory,
                detail,
            } => Self::unavailable(
                Cause::OutOfMemory,
                format!("{detail}; waiting for the consumers to drain it"),
            ),
            RequestError::Unavailable { cause, detail } => Self::Unavailable { cause, detail },
            RequestError::Unknown(detail) => Self::Unknown(detail),
            RequestError::WrongType(detail) => Self::WrongType(detail),
            RequestError::Denied(detail) => Self::Denied(detail),
            RequestError::Incompatible(detail) => Self::Incompatible(detail),
        }
    }
}

impl QueueError {
    /// Shorthand for [`QueueError::Unavailable`].
    #[must_use]
    pub fn unavailable(cause: Cause, detail: impl fmt::Display) -> Self {
        Self::Unavailable {
            cause,
            detail: detail.to_string(),
        }
    }

    /// Whether the lease and the in-memory state have to be discarded.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Fenced | Self::Conflict { .. } | Self::Shifted)
    }
}
