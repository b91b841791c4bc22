//! What SQLite's errors mean.

use std::path::{Path, PathBuf};

use rusqlite::{Error, ErrorCode};

use crate::{ReadError, WriteError};

/// Why a file can't be opened as a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is none, and none is made to be read from.
    #[error("no store at {}: has `rigline up --data DIR` run?", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A database, but not of ours.
    #[error(
        "{} is a database of another program ({detail}): move it away or name another directory",
        .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What shows it.
        detail: String,
    },
    /// No database at all, or one that is damaged.
    #[error(
        "{} is damaged or no database ({detail}): put a copy back, or move it away to start anew",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// Made by a newer Rigline.
    #[error(
        "{} has version {found}, this program knows up to {known}: use the newer Rigline that \
         made it, or name another directory",
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
    /// Made by an older Rigline and opened for reading only, so that it can't be brought up to date.
    #[error(
        "{} has version {found}, this program reads {known}: run `rigline up` once, which brings \
         it up to date",
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
        /// What was said, and what to look at.
        detail: String,
    },
}

impl OpenError {
    pub(super) fn of(path: &Path, error: &Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged {
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

/// What an error means to whoever asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may work later.
    Later(String),
    /// It won't unless a person does something.
    Denied(String),
}

impl Fault {
    pub(super) fn of(path: &Path, error: &Error) -> Self {
        let detail = format!("{}: {error}; {}", path.display(), remedy(error));
        match error.sqlite_error_code() {
            // Unknown: no such table or column.
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) => {
                Self::Denied(detail)
            }
            Some(_) => Self::Later(detail),
            None => Self::Denied(detail),
        }
    }
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Later(detail) => Self::Retry {
                detail,
                after: None,
            },
            Fault::Denied(detail) => Self::Denied { detail },
        }
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Later(detail) => Self::Unavailable { detail },
            Fault::Denied(detail) => Self::Denied { detail },
        }
    }
}

/// Whether there was no room left to write to.
pub(super) fn is_full(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn remedy(error: &Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "free some space on its disk",
        Some(ErrorCode::SystemIoFailure) => "look at its disk and at the system's log",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds its lock"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "it and its directory have to exist and be writable"
        }
        Some(ErrorCode::OutOfMemory) => "the memory ran out",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "put a copy back, or move it away to start anew"
        }
        _ => "its tables aren't as this program made them",
    }
}
