//! What is in the file, and in which form.

use sqlite::FileKind;

/// The queue's files.
pub(super) const QUEUE: FileKind = FileKind {
    what: "queue",
    // The letters `RigQ`.
    application_id: 0x5269_6751,
    migrations: &[include_str!("schema.sql")],
    // The first form had the same tables and no mark.
    unmarked_tables: &[
        "consumer",
        "dead",
        "ledger",
        "meta",
        "normalized",
        "raw",
        "state",
    ],
    after_migration: |_| Ok(()),
    writer_cache: 2_000,
    reader_cache: 2_000,
    statements: 64,
};
