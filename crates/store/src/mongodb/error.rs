//! What errors of MongoDB and of its driver mean.

use ::mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::{ReadError, RowsAtFault, WriteError};

/// The longest message that is passed on, in bytes.
const MAX_MESSAGE: usize = 2_048;

/// Why a command failed, named by what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    next: Next,
    detail: String,
    /// The server's code, if it answered with one.
    code: Option<i32>,
    /// The update of the command that it is about.
    index: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Retry,
    Denied,
    TooLarge,
    Rejected(RowsAtFault),
}

/// The server has an index of the same members, or of the same name.
#[derive(Debug, Clone, Copy)]
pub(super) struct OptionConflict;

impl OptionConflict {
    const CODES: [i32; 3] = [68, 85, 86];
}

impl Failure {
    pub(super) fn retry(detail: String) -> Self {
        Self::new(Next::Retry, detail)
    }

    pub(super) fn denied(detail: String) -> Self {
        Self::new(Next::Denied, detail)
    }

    fn new(next: Next, mut detail: String) -> Self {
        if detail.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE)
                .rev()
                .find(|end| detail.is_char_boundary(*end));
            detail.truncate(end.unwrap_or(0));
        }
        Self {
            next,
            detail,
            code: None,
            index: None,
        }
    }

    /// Of an update of a command, which is counted from 0.
    pub(super) fn of_update(code: i32, message: &str, index: usize) -> Self {
        let next = match of_command(code) {
            Some(Next::TooLarge) => Next::Rejected(RowsAtFault::Some),
            Some(next) => next,
            None => of_document(code, message),
        };
        Self {
            code: Some(code),
            index: Some(index),
            ..Self::new(next, explained(next, code, message))
        }
    }

    /// Of a command whose rows aren't at fault, since it has none.
    pub(super) fn of_command(mut failure: Self) -> Self {
        if matches!(failure.next, Next::Rejected(_) | Next::TooLarge) {
            failure.next = Next::Denied;
        }
        failure.index = None;
        failure
    }

    /// The write concern wasn't fulfilled: the rows may be lost if the primary fails.
    pub(super) fn of_write_concern(code: i32, message: &str) -> Self {
        let next = of_command(code).unwrap_or(Next::Retry);
        Self {
            code: Some(code),
            ..Self::new(
                next,
                format!("the write isn't safe yet: {message} (code {code})"),
            )
        }
    }

    pub(super) fn is(&self, _: OptionConflict) -> bool {
        self.code
            .is_some_and(|code| OptionConflict::CODES.contains(&code))
    }

    /// For a write of `count` rows, of which the command began with the one at `first`.
    pub(super) fn into_write_error(self, first: usize, count: usize) -> WriteError {
        let detail = match self.index {
            Some(index) => format!("row {} of {count}: {}", first + index + 1, self.detail),
            None => self.detail,
        };
        match self.next {
            Next::Retry => WriteError::Retry {
                detail,
                after: None,
            },
            Next::Denied => WriteError::Denied { detail },
            Next::TooLarge => WriteError::TooLarge { detail },
            Next::Rejected(at_fault) => WriteError::Rejected { detail, at_fault },
        }
    }
}

impl From<Failure> for WriteError {
    fn from(failure: Failure) -> Self {
        Failure::of_command(failure).into_write_error(0, 0)
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        let detail = failure.detail;
        match failure.next {
            Next::Denied => Self::Denied { detail },
            _ => Self::Unavailable { detail },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, message) = match error.kind.as_ref() {
            ErrorKind::Command(command) => (command.code, command.message.clone()),
            ErrorKind::Write(WriteFailure::WriteConcernError(error)) => {
                return Self::of_write_concern(error.code, &error.message);
            }
            ErrorKind::Write(WriteFailure::WriteError(error)) => {
                (error.code, error.message.clone())
            }
            ErrorKind::Authentication { message, .. } => (AUTHENTICATION_FAILED, message.clone()),
            ErrorKind::InvalidArgument { .. }
            | ErrorKind::InvalidTlsConfig { .. }
            | ErrorKind::IncompatibleServer { .. } => {
                return Self::denied(error.kind.to_string());
            }
            ErrorKind::ServerSelection { message, .. } => return Self::retry(unreachable(message)),
            // Not the error's own text, in which labels for programs follow.
            _ => return Self::retry(error.kind.to_string()),
        };
        let next = of_command(code).unwrap_or(Next::Retry);
        Self {
            code: Some(code),
            ..Self::new(next, explained(next, code, &message))
        }
    }
}

/// Names each server with its last error, if `message` is that of a client that found none.
fn unreachable(message: &str) -> String {
    let servers = message.split("{ Address: ").skip(1);
    let servers: Vec<_> = servers
        .filter_map(|server| {
            let (address, rest) = server.split_once(", ")?;
            let (_, error) = rest.split_once("Error: Kind: ")?;
            let (error, _) = error.split_once(", labels: ")?;
            Some(format!("{address}: {error}"))
        })
        .collect();
    if servers.is_empty() {
        message.to_owned()
    } else {
        format!("no server answers: {}", servers.join("; "))
    }
}

const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
const ATLAS: i32 = 8_000;
const TOO_LARGE: i32 = 10_334;

/// Codes whatever the command is about. None of the others is a reason to give up a row.
fn of_command(code: i32) -> Option<Next> {
    match code {
        // The last is that of Atlas for a wrong user or password.
        UNAUTHORIZED | AUTHENTICATION_FAILED | ATLAS
        // Unknown command, option or member of a command, a name that can't be, a view.
        | 59 | 72 | 73 | 166 | 238 | 40_415 => Some(Next::Denied),
        TOO_LARGE => Some(Next::TooLarge),
        _ => None,
    }
}

/// Codes of one update.
fn of_document(code: i32, message: &str) -> Next {
    match code {
        // The document would be too large with the row's fields, or in an index.
        17_280 | 17_419 | 17_420
        // Names and paths that can't be: a value is where a document has to be, for instance.
        | 2 | 14 | 22 | 28 | 40 | 52 | 55 | 56 | 57 => Next::Rejected(RowsAtFault::Some),
        // Two writers at the same time.
        11_000 if is_about_ids(message) => Next::Retry,
        // Rules of the collection that Rigline doesn't know: perhaps they refuse every row.
        121 | 11_000 => Next::Rejected(RowsAtFault::Unknown),
        _ => Next::Retry,
    }
}

/// Whether an error for a key that is there names the index of `_id`, in the words of MongoDB or FerretDB. The names of
/// other indexes can end alike: `sensor_id_1`.
fn is_about_ids(message: &str) -> bool {
    message.contains("index: _id_ ") || message.contains("Index '_id_'")
}

fn explained(next: Next, code: i32, message: &str) -> String {
    let remedy = match (next, code) {
        (Next::Denied, UNAUTHORIZED) => {
            "the user may not do this, it needs the role readWrite of the database: "
        }
        (Next::Denied, AUTHENTICATION_FAILED | ATLAS) => {
            "check user, password and auth_source of [[store]]: "
        }
        (Next::Rejected(_), 121) => "the collection's own validation refuses it: ",
        (Next::Rejected(_), 11_000) => "another index of the collection has to be unique: ",
        _ => "",
    };
    format!("{remedy}{message} (code {code})")
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use ::mongodb::error::{Error, ErrorKind};

    use super::{Failure, OptionConflict};
    use crate::{ReadError, RowsAtFault, WriteError};

    #[test]
    fn servers_that_do_not_answer_are_named_with_their_errors() {
        let message = "Server selection timeout: No available servers. Topology: { Type: Unknown, Servers: [ { Address: \
                       a:1, Type: Unknown, Error: Kind: I/O error: Connection refused (os error 111), labels: \
                       {\"SystemOverloadedError\", \"RetryableError\"}, source: None, server response: None }, { \
                       Address: b:2, Type: Unknown, Error: Kind: I/O error: timed out, labels: {}, source: None, \
                       server response: None } ] }";
        assert_eq!(
            super::unreachable(message),
            "no server answers: a:1: I/O error: Connection refused (os error 111); b:2: I/O error: timed out"
        );
        let other = "Server selection timeout: None of the available servers suitable";
        assert_eq!(super::unreachable(other), other);
    }

    fn of_update(code: i32, message: &str) -> WriteError {
        Failure::of_update(code, message, 2).into_write_error(10, 20)
    }

    #[test]
    fn updates_are_rejected_only_for_what_is_in_their_rows() {
        for (code, message, expected) in [
            (17_419, "too large", Some(RowsAtFault::Some)),
            (10_334, "too large", Some(RowsAtFault::Some)),
            (28, "cannot create field", Some(RowsAtFault::Some)),
            (
                121,
                "Document failed validation",
                Some(RowsAtFault::Unknown),
            ),
            (
                11_000,
                "E11000 dup key: { a: 1 } index: mine",
                Some(RowsAtFault::Unknown),
            ),
            (
                11_000,
                "E11000 duplicate key error collection: a_id_.b index: sensor_id_1 dup key: { sensor_id: \"_id_\" }",
                Some(RowsAtFault::Unknown),
            ),
            (11_000, "E11000 index: _id_ dup key", None),
            (11_000, "Duplicate key violation: Index '_id_'", None),
            (112, "WriteConflict", None),
            (4_711, "never heard of", None),
        ] {
            match (of_update(code, message), expected) {
                (WriteError::Rejected { detail, at_fault }, Some(expected)) => {
                    assert_eq!(at_fault, expected);
                    assert!(detail.starts_with("row 13 of 20: "), "{detail}");
                    assert!(detail.contains(message), "{detail}");
                }
                (WriteError::Retry { .. }, None) => {}
                (other, _) => panic!("{code}: {other:?}"),
            }
        }
        assert!(matches!(of_update(13, "no"), WriteError::Denied { .. }));
    }

    #[test]
    fn settings_are_never_the_fault_of_rows() {
        let too_large = Failure::of_update(17_419, "too large", 0);
        assert!(matches!(
            WriteError::from(too_large),
            WriteError::Denied { .. }
        ));
        let concern = Failure::of_write_concern(64, "waiting for replication timed out");
        assert!(matches!(
            concern.into_write_error(0, 1),
            WriteError::Retry { .. }
        ));
        assert!(Failure::of_update(85, "", 0).is(OptionConflict));
    }

    #[test]
    fn errors_of_the_driver_are_named_by_what_to_do() {
        let io = std::io::Error::other("broken pipe");
        let lost = Failure::from(Error::from(io));
        assert!(matches!(
            ReadError::from(lost),
            ReadError::Unavailable { .. }
        ));
        let settings = Error::custom("anything");
        assert!(matches!(settings.kind.as_ref(), ErrorKind::Custom(_)));
        assert!(matches!(
            WriteError::from(Failure::from(settings)),
            WriteError::Retry { .. }
        ));
        let long = Failure::retry("é".repeat(5_000));
        match WriteError::from(long) {
            WriteError::Retry { detail, .. } => assert_eq!(detail.len(), 2_048),
            other => panic!("{other:?}"),
        }
    }
}
