//! The schema of the file.

use sqlite::FileKind;

/// The kind of SQLite file that holds a queue.
pub(super) const QUEUE: FileKind = FileKind {
    what: "queue",
    // The letters `RigQ`.
    application_id: 0x5269_6751,
    migrations: &[include_str!("schema.sql"), include_str!("positions.sql")],
    // Version 0 had the same tables without an application id.
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
