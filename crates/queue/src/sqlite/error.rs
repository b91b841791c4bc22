//! Maps SQLite's errors to the queue's errors.

use sqlite::{Failure, OpenError, Stopped, failure, remedy};

use crate::error::{Cause, QueueError};

/// Maps an error of SQLite.
pub(super) fn classify(error: &rusqlite::Error) -> QueueError {
    let detail = format!("{error}; {}", remedy(error));
    match failure(error) {
        Failure::Busy => QueueError::unavailable(Cause::Busy, detail),
        Failure::DiskFull | Failure::Io => QueueError::unavailable(Cause::CannotPersist, detail),
        Failure::ReadOnly => QueueError::unavailable(Cause::ReadOnly, detail),
        Failure::OutOfMemory => QueueError::unavailable(Cause::OutOfMemory, detail),
        Failure::Damaged => QueueError::Incompatible(format!("the file is damaged: {detail}")),
        Failure::Denied => QueueError::Denied(detail),
        Failure::WrongSchema => QueueError::WrongType(detail),
        Failure::Other => QueueError::unavailable(Cause::Other, detail),
    }
}

impl From<OpenError> for QueueError {
    fn from(error: OpenError) -> Self {
        Self::Incompatible(error.to_string())
    }
}

impl From<Stopped> for QueueError {
    fn from(stopped: Stopped) -> Self {
        Self::unavailable(Cause::Unreachable, stopped)
    }
}
