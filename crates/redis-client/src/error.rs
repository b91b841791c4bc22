//! Errors of requests, named by what the caller does next.

use std::fmt;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nothing was changed, and the request may succeed later.
    #[error("{cause}: {detail}")]
    Unavailable {
        /// The kind of failure.
        cause: Cause,
        /// The message of the server or the client.
        detail: String,
    },
    /// The request was sent without a reply, so it may have been carried out.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// A key has another type. Nothing was changed. An operator has to act.
    #[error("wrong type of key: {0}")]
    WrongType(String),
    /// The server denies access. An operator has to act.
    #[error("access denied: {0}")]
    Denied(String),
    /// The server can't be used with these settings. An operator has to act.
    #[error("{0}")]
    Incompatible(String),
}

/// Why a server is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection.
    Unreachable,
    /// The server is loading its data after a start.
    Loading,
    /// The server is a replica.
    ReadOnly,
    /// The server can't write to its disk.
    CannotPersist,
    /// The server's memory limit is reached.
    OutOfMemory,
    /// The server runs a long script.
    Busy,
    /// Another reason.
    Other,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::Loading => "loading its data",
            Self::ReadOnly => "read-only",
            Self::CannotPersist => "cannot write to its disk",
            Self::OutOfMemory => "at its memory limit",
            Self::Busy => "busy",
            Self::Other => "refused for now",
        })
    }
}

impl RequestError {
    /// Shorthand for [`RequestError::Unavailable`].
    #[must_use]
    pub fn unavailable(cause: Cause, detail: impl fmt::Display) -> Self {
        Self::Unavailable {
            cause,
            detail: detail.to_string(),
        }
    }
}
