//! What is in the file, and in which form.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::{classify, in_file};
use crate::error::QueueError;

/// `SQLite`'s mark of whose file it is (the letters `RigQ`).
const APPLICATION: i32 = 0x5269_6751;
/// The present form.
const VERSION: i32 = 1;

/// Makes the tables in an empty file, and brings an older one to the present form.
pub(super) fn make_or_migrate(connection: &mut Connection, path: &Path) -> Result<(), QueueError> {
    let named = |error: rusqlite::Error| in_file(path, &error);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(named)?;
    if Form::of(&transaction, path)? != Form::Present {
        // The first form had the same tables and no mark.
        transaction
            .execute_batch(include_str!("schema.sql"))
            .map_err(named)?;
        transaction
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(named)?;
        transaction
            .pragma_update(None, "user_version", VERSION)
            .map_err(named)?;
    }
    transaction.commit().map_err(named)
}

/// Whether the file has the present form, for who may not change it.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), QueueError> {
    match Form::of(connection, path)? {
        Form::Present => Ok(()),
        Form::Empty => Err(QueueError::Incompatible(format!(
            "{} has nothing in it yet: is `rigline up` just starting?",
            path.display()
        ))),
        Form::Unmarked => Err(QueueError::Incompatible(format!(
            "{} is of an older version of Rigline: `rigline up` brings it up to date",
            path.display()
        ))),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Form {
    Empty,
    /// Of the versions before there was a mark.
    Unmarked,
    Present,
}

impl Form {
    fn of(connection: &Connection, path: &Path) -> Result<Self, QueueError> {
        let pragma = |name| {
            connection
                .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
                .map_err(|error| in_file(path, &error))
        };
        let refused = |what: String| {
            let path = path.display();
            Err(QueueError::Incompatible(format!("{path} {what}")))
        };
        match (pragma("application_id")?, pragma("user_version")?) {
            (APPLICATION, VERSION) => Ok(Self::Present),
            (APPLICATION, newer) => refused(format!(
                "was written by a newer Rigline (form {newer}, this one knows {VERSION}): use that \
                 one, or another data directory"
            )),
            (0, 0) => match tables(connection)?.as_slice() {
                [] => Ok(Self::Empty),
                found if found == OURS => Ok(Self::Unmarked),
                _ => refused("is the database of another program: move it out of the way".into()),
            },
            _ => refused("is the database of another program: move it out of the way".into()),
        }
    }
}

/// The tables, in order of their names.
const OURS: [&str; 7] = [
    "consumer",
    "dead",
    "ledger",
    "meta",
    "normalized",
    "raw",
    "state",
];

fn tables(connection: &Connection) -> Result<Vec<String>, QueueError> {
    let refused = |error: rusqlite::Error| classify(&error);
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut select = connection.prepare(sql).map_err(refused)?;
    let names = select.query_map([], |row| row.get(0)).map_err(refused)?;
    names.collect::<rusqlite::Result<_>>().map_err(refused)
}
