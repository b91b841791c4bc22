//! What errors of `SQLite` mean.

use std::path::{Path, PathBuf};

use rusqlite::{Error, ErrorCode};

/// Why a file can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no file, and a reader creates none.
    #[error("there is no {what} at {}", .path.display())]
    Missing {
        /// What the file would hold.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A database, but not of this kind.
    #[error(
        "{} is the database of another program ({detail}), not a {what} of Rigline: move it away \
         or name another directory",
        .path.display()
    )]
    Foreign {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What shows it.
        detail: String,
    },
    /// Not a database, or a damaged one.
    #[error(
        "{} is damaged, or no {what} of Rigline ({detail}): stop, keep a copy, see what \
         `sqlite3 .recover` can read, and restore a backup or move it away to start over",
        .path.display()
    )]
    Damaged {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        detail: String,
    },
    /// Written by a newer Rigline.
    #[error(
        "{} was written by a newer Rigline (version {found}, this program knows up to {known}): \
         use that one, or name another directory",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        found: i32,
        /// The newest version that can be opened.
        known: i32,
    },
    /// Written by an older Rigline and opened for reading only, so that it can't be migrated.
    #[error(
        "{} is of an older version of Rigline (version {found}, this program reads {known}): start \
         the pipeline on it once, which migrates it",
        .path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        found: i32,
        /// The version that can be read.
        known: i32,
    },
    /// The file or its directory can't be used now.
    #[error("{}: {detail}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The error, and what to look at.
        detail: String,
    },
}

impl OpenError {
    /// What an error at opening a file means.
    pub(crate) fn new(what: &'static str, path: &Path, error: &Error) -> Self {
        let path = path.to_owned();
        match failure(error) {
            Failure::Damaged => Self::Damaged {
                what,
                path,
                detail: error.to_string(),
            },
            _ => Self::Unusable {
                path,
                detail: format!("{error}; {}", remedy(error)),
            },
        }
    }
}

/// What failed, by what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Another process holds the file's lock.
    Busy,
    /// The disk is full.
    DiskFull,
    /// The disk or the file system failed.
    Io,
    /// The file or its directory may not be written to.
    ReadOnly,
    /// The memory ran out.
    OutOfMemory,
    /// The file is damaged, or not a database.
    Damaged,
    /// The user may not use the file.
    Denied,
    /// Tables or columns aren't as Rigline creates them.
    WrongSchema,
    /// Something else.
    Other,
}

/// What an error means.
#[must_use]
pub fn failure(error: &Error) -> Failure {
    match error {
        Error::SqlInputError { .. }
        | Error::InvalidColumnType(..)
        | Error::FromSqlConversionFailure(..) => return Failure::WrongSchema,
        _ => {}
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failure::Busy,
        Some(ErrorCode::DiskFull) => Failure::DiskFull,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Failure::Io,
        Some(ErrorCode::ReadOnly) => Failure::ReadOnly,
        Some(ErrorCode::OutOfMemory) => Failure::OutOfMemory,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Failure::Damaged,
        Some(ErrorCode::PermissionDenied) => Failure::Denied,
        // No such table, no such column.
        Some(ErrorCode::Unknown | ErrorCode::TypeMismatch) => Failure::WrongSchema,
        _ => Failure::Other,
    }
}

/// What an operator can do about an error.
#[must_use]
pub fn remedy(error: &Error) -> &'static str {
    match failure(error) {
        Failure::Busy => "another program holds its lock",
        Failure::DiskFull => "free some space on its disk",
        Failure::Io if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
            "check its disk and the system's log"
        }
        Failure::Io | Failure::ReadOnly | Failure::Denied => {
            "it and its directory have to exist and be writable"
        }
        Failure::OutOfMemory => "the memory ran out",
        Failure::Damaged => "restore a backup, or move it away to start over",
        Failure::WrongSchema | Failure::Other => "its tables aren't as this program creates them",
    }
}
