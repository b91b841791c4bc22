//! Errors of a queue, named by what the caller does next.

use std::fmt;

/// Why a queue didn't do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Nothing was changed; the same call may work later. Wait and try again.
    #[error("{cause}: {detail}")]
    Unavailable {
        /// What is in the way.
        cause: Cause,
        /// The server's or the client's words.
        detail: String,
    },
    /// A write was sent and no answer came: it may have been carried out. Read the progress.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The lease has run out or is somebody else's. Forget what is in memory, take it anew.
    #[error("the lease is no longer held")]
    Fenced,
    /// The commit named another number than the list's. Forget what is in memory, as above.
    #[error("the commit expected number {expected}, the list is at {found}")]
    Conflict {
        /// The number that the commit named.
        expected: u64,
        /// The number that the list is at.
        found: u64,
    },
    /// The head of the list isn't what was peeked at: somebody else pushed to it or popped from it.
    /// Forget what is in memory, as above.
    #[error("somebody else changed the head of the list; nothing was taken, reading it again")]
    Shifted,
    /// A key holds something of another kind; nothing was changed. An operator has to look.
    #[error("wrong type of key: {0}; move it out of the way, nothing was changed")]
    WrongType(String),
    /// The server doesn't let us in. An operator has to look.
    #[error("access denied: {0}; check REDIS_USERNAME, REDIS_PASSWORD and the user's rights")]
    Denied(String),
    /// This server or this data can't be used with these settings. An operator has to look.
    #[error("{0}")]
    Incompatible(String),
}

/// What keeps a queue from working for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection.
    Unreachable,
    /// The server reads its data after a start.
    Loading,
    /// The server is a replica, or was made one.
    ReadOnly,
    /// The server can't write to its disk.
    CannotPersist,
    /// The server's memory limit is reached.
    OutOfMemory,
    /// The server runs a long script.
    Busy,
    /// Something else.
    Other,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::Loading => "loading its data",
            Self::ReadOnly => "read-only",
            Self::CannotPersist => "cannot write to its disk",
            Self::OutOfMemory => "at its memory limit, waiting for the consumers to drain it",
            Self::Busy => "busy with something else",
            Self::Other => "refused for now",
        })
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

    /// Whether the lease and what was computed under it are worth nothing any more.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Fenced | Self::Conflict { .. } | Self::Shifted)
    }
}
