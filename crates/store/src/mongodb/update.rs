//! The command that writes.

use ::mongodb::Database;
use ::mongodb::bson::{Document, RawArrayBuf, rawdoc};

use super::client::in_time;
use super::error::Failure;

/// Most bytes of the updates of a command, which is a document of at most 16 MiB.
pub(super) const MAX_COMMAND: usize = 15 << 20;
/// How long the servers of a replica set may take to make a write safe, in milliseconds.
const SAFE_WITHIN: i32 = 10_000;

/// Carries `count` updates out, in order, and returns when they are safe: in the journals of most servers of a
/// replica set. After an error, those before the one that it is about are carried out, or perhaps all.
pub(super) async fn update(
    database: &Database,
    collection: &str,
    updates: RawArrayBuf,
    count: usize,
) -> Result<(), Failure> {
    let command = rawdoc! {
        "update": collection,
        "updates": updates,
        "ordered": true,
        "writeConcern": { "w": "majority", "j": true, "wtimeout": SAFE_WITHIN },
    };
    let answer = in_time(database.run_raw_command(command)).await?;
    if let Ok(errors) = answer.get_array("writeErrors")
        && let Some(error) = errors.first().and_then(|error| error.as_document())
    {
        let index = error.get_i32("index").ok();
        let index = index.and_then(|index| usize::try_from(index).ok());
        // Without its place, it may be any.
        let index = index.unwrap_or(0).min(count.saturating_sub(1));
        return Err(Failure::of_update(code(error), message(error), index));
    }
    match answer.get_document("writeConcernError") {
        Ok(error) => Err(Failure::of_write_concern(code(error), message(error))),
        Err(_) => Ok(()),
    }
}

fn code(error: &Document) -> i32 {
    error.get_i32("code").unwrap_or(0)
}

fn message(error: &Document) -> &str {
    error.get_str("errmsg").unwrap_or("an error without words")
}
