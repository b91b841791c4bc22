//! What errors of PostgreSQL mean. Codes are those of its documentation, appendix A.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::{ReadError, RowsAtFault, WriteError};

/// The longest message that is passed on, in bytes.
const MAX_MESSAGE: usize = 2_048;

/// Why a statement failed, named by what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    next: Next,
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Retry,
    TooLarge,
    Rejected(RowsAtFault),
    Denied,
}

impl Failure {
    pub(super) fn retry(detail: &str) -> Self {
        Self::new(Next::Retry, detail.to_owned())
    }

    pub(super) fn denied(detail: &str) -> Self {
        Self::new(Next::Denied, detail.to_owned())
    }

    fn new(next: Next, mut detail: String) -> Self {
        detail.truncate(detail.floor_char_boundary(MAX_MESSAGE));
        Self { next, detail }
    }

    /// Of a connection to this address.
    pub(super) fn at(self, address: &str) -> Self {
        Self::new(self.next, format!("{address}: {}", self.detail))
    }

    /// Of creating the table, which another process may be doing at the same time.
    pub(super) fn of_setup(mut self) -> Self {
        if matches!(self.next, Next::Rejected(_)) {
            self.next = Next::Retry;
        }
        self
    }

    /// Of a statement without rows, which can't be at fault.
    pub(super) fn without_rows(mut self) -> Self {
        if matches!(self.next, Next::Rejected(_) | Next::TooLarge) {
            self.next = Next::Denied;
        }
        self
    }
}

impl From<Failure> for WriteError {
    fn from(Failure { next, detail }: Failure) -> Self {
        match next {
            Next::Retry => Self::Retry {
                detail,
                after: None,
            },
            Next::TooLarge => Self::TooLarge { detail },
            Next::Rejected(at_fault) => Self::Rejected { detail, at_fault },
            Next::Denied => Self::Denied { detail },
        }
    }
}

impl From<Failure> for ReadError {
    fn from(Failure { next, detail }: Failure) -> Self {
        match next {
            Next::Denied => Self::Denied { detail },
            Next::Retry | Next::TooLarge | Next::Rejected(_) => Self::Unavailable { detail },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Some(answer) = error.as_db_error() {
            let code = answer.code().code();
            return Self::new(of_code(code, answer.message()), told(answer));
        }
        let detail = with_causes(&error);
        // The client has no other way to tell them apart.
        let is_denied = detail.starts_with("authentication error")
            || detail.starts_with("invalid configuration")
            || detail.contains("certificate");
        let next = if is_denied { Next::Denied } else { Next::Retry };
        Self::new(next, detail)
    }
}

/// The client's message, and what led to it.
pub(super) fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

/// The server's message with its code, and what it adds.
fn told(answer: &DbError) -> String {
    let mut text = format!("{} (SQLSTATE {})", answer.message(), answer.code().code());
    for (name, more) in [("detail", answer.detail()), ("hint", answer.hint())] {
        if let Some(more) = more {
            text = format!("{text}; {name}: {more}");
        }
    }
    text
}

/// None of the classes that aren't named is a reason to give up a row.
fn of_code(code: &str, message: &str) -> Next {
    match code {
        // The table or a column of it was removed meanwhile; the next connection makes it again.
        "42P01" | "42703" => Next::Retry,
        // Likewise, with a statement from before.
        "0A000" if message.contains("cached plan") => Next::Retry,
        // Too complex a statement.
        "54001" => Next::TooLarge,
        // A value that the type of its column can't hold, a row or a key that is too large for a page, one column
        // too many.
        code if code.starts_with("22") || code.starts_with("54") => {
            Next::Rejected(RowsAtFault::Some)
        }
        // Constraints and triggers that Rigline doesn't know: perhaps they refuse every row.
        code if code.starts_with("23") || code.starts_with("44") || code == "P0001" => {
            Next::Rejected(RowsAtFault::Unknown)
        }
        // Login, permissions, names of databases and schemas, and statements that the table doesn't fit.
        code if ["0A", "28", "3D", "3F", "42"].contains(&code.get(..2).unwrap_or_default()) => {
            Next::Denied
        }
        _ => Next::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Next, of_code};
    use crate::{ReadError, RowsAtFault, WriteError};

    #[test]
    fn codes_are_named_by_what_to_do() {
        let some = Next::Rejected(RowsAtFault::Some);
        let unknown = Next::Rejected(RowsAtFault::Unknown);
        for (code, expected) in [
            // The server stops, starts, is a standby, has no space or too many connections.
            ("57P01", Next::Retry),
            ("57P03", Next::Retry),
            ("25006", Next::Retry),
            ("53100", Next::Retry),
            ("53300", Next::Retry),
            ("40001", Next::Retry),
            ("40P01", Next::Retry),
            ("55P03", Next::Retry),
            ("57014", Next::Retry),
            ("08006", Next::Retry),
            ("XX000", Next::Retry),
            ("42P01", Next::Retry),
            ("42703", Next::Retry),
            ("22P02", some),
            ("22021", some),
            ("54000", some),
            ("54011", some),
            ("54001", Next::TooLarge),
            ("23514", unknown),
            ("23505", unknown),
            ("P0001", unknown),
            ("28P01", Next::Denied),
            ("28000", Next::Denied),
            ("3D000", Next::Denied),
            ("42501", Next::Denied),
            ("42804", Next::Denied),
            ("0A000", Next::Denied),
            ("", Next::Retry),
        ] {
            assert_eq!(of_code(code, "anything"), expected, "{code}");
        }
        let changed = "cached plan must not change result type";
        assert_eq!(of_code("0A000", changed), Next::Retry);
    }

    #[test]
    fn settings_are_never_the_fault_of_rows() {
        let failure = Failure::new(Next::Rejected(RowsAtFault::Some), "too large".into());
        let without_rows = WriteError::from(failure.clone().without_rows());
        assert!(matches!(without_rows, WriteError::Denied { .. }));
        assert!(matches!(
            ReadError::from(failure),
            ReadError::Unavailable { .. }
        ));
        match WriteError::from(Failure::retry(&"é".repeat(5_000))) {
            WriteError::Retry { detail, .. } => assert_eq!(detail.len(), 2_048),
            other => assert_eq!(other.to_string(), "a retry"),
        }
    }
}
