//! Maps SQLite's errors to the store's errors.

use std::path::Path;

use rusqlite::{Error, ErrorCode};
use sqlite::{Failure, failure, remedy};

use crate::{ReadError, WriteError};

/// Why a statement failed, named by what to do next.
#[derive(Debug)]
pub(super) enum StatementError {
    /// It may succeed later.
    Retry(String),
    /// It fails until an operator acts.
    Denied(String),
}

impl StatementError {
    pub(super) fn new(path: &Path, error: &Error) -> Self {
        let detail = format!("{}: {error}; {}", path.display(), remedy(error));
        match (failure(error), error.sqlite_error_code()) {
            // No such table or column.
            (Failure::Damaged, _) | (_, Some(ErrorCode::Unknown) | None) => Self::Denied(detail),
            (_, Some(_)) => Self::Retry(detail),
        }
    }
}

impl From<StatementError> for WriteError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Retry(detail) => Self::Retry {
                detail,
                after: None,
            },
            StatementError::Denied(detail) => Self::Denied { detail },
        }
    }
}

impl From<StatementError> for ReadError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Retry(detail) => Self::Unavailable { detail },
            StatementError::Denied(detail) => Self::Denied { detail },
        }
    }
}

/// Whether the disk is full.
pub(super) fn is_full(error: &Error) -> bool {
    failure(error) == Failure::DiskFull
}
