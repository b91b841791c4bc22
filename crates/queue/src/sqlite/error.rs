//! What errors of the database mean.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::{Cause, QueueError};

/// What an error at opening a file means.
pub(super) fn in_file(path: &Path, error: &rusqlite::Error) -> QueueError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            QueueError::Incompatible(format!(
                "{} is no queue of Rigline, or is damaged ({error}): move it out of the way",
                path.display()
            ))
        }
        Some(ErrorCode::ReadOnly) => QueueError::Incompatible(format!(
            "{} can't be written to: look at its owner and rights",
            path.display()
        )),
        Some(ErrorCode::CannotOpen) if matches!(path.try_exists(), Ok(false)) => {
            QueueError::Incompatible(format!(
                "there is no {}: has `rigline up` run with this data directory?",
                path.display()
            ))
        }
        _ => classify(error),
    }
}

/// What an error of SQLite means.
pub(super) fn classify(error: &rusqlite::Error) -> QueueError {
    use rusqlite::Error;
    let said = error.to_string();
    match error {
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                QueueError::unavailable(Cause::Busy, said)
            }
            ErrorCode::DiskFull => {
                QueueError::unavailable(Cause::CannotPersist, format!("{said}: make room on it"))
            }
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => {
                QueueError::unavailable(Cause::CannotPersist, said)
            }
            ErrorCode::ReadOnly => QueueError::unavailable(Cause::ReadOnly, said),
            ErrorCode::OutOfMemory => QueueError::unavailable(Cause::OutOfMemory, said),
            ErrorCode::DatabaseCorrupt => QueueError::Incompatible(format!(
                "the file is damaged ({said}): stop, keep a copy, and see what `sqlite3 .recover` can read"
            )),
            ErrorCode::PermissionDenied => QueueError::Denied(said),
            // Tables that aren't ours: no such column, not a table, not a database.
            ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::NotADatabase => {
                QueueError::WrongType(said)
            }
            _ => QueueError::unavailable(Cause::Other, said),
        },
        Error::SqlInputError { .. }
        | Error::InvalidColumnType(..)
        | Error::FromSqlConversionFailure(..) => QueueError::WrongType(said),
        _ => QueueError::unavailable(Cause::Other, said),
    }
}
