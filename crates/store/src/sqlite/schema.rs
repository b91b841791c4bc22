//! The schema of the file.

use std::collections::HashSet;
use std::fmt::Write;

use rusqlite::Connection;
use sqlite::FileKind;

/// The kind of SQLite file that holds a store.
pub(super) const STORE: FileKind = FileKind {
    what: "store",
    // The letters `RIGL`.
    application_id: 0x5249_474C,
    migrations: &[include_str!("schema.sql")],
    unmarked_tables: &[],
    after_migration: show_rows,
    // It holds the last pages of several thousand rigs.
    writer_cache: 24 << 10,
    reader_cache: 8 << 10,
    statements: 128,
};

/// Recreates the view `rows`, which shows rows with names, for users who open the file with a tool.
pub(super) fn show_rows(connection: &Connection) -> rusqlite::Result<()> {
    let mut sql = String::from(
        "DROP VIEW IF EXISTS rows;
         CREATE VIEW rows AS SELECT
            rig.name AS rig_id,
            strftime('%Y-%m-%dT%H:%M:%S', tick / 1000000000 - (tick % 1000000000 < 0), 'unixepoch')
                || CASE tick % 1000000000 WHEN 0 THEN 'Z' ELSE
                    printf('.%09dZ', (tick % 1000000000 + 1000000000) % 1000000000) END AS time,
            tick",
    );
    let mut taken: HashSet<String> = ["rig_id", "time", "tick"].map(String::from).into();
    let mut select = connection.prepare("SELECT id, name FROM sensor ORDER BY id")?;
    let mut sensors = select.query([])?;
    while let Some(sensor) = sensors.next()? {
        let (id, name): (i64, String) = (sensor.get(0)?, sensor.get(1)?);
        // A name that differs from one before in case only, or is one of the first three: no
        // sensor can have brackets in its name.
        let shown = if taken.insert(name.to_ascii_lowercase()) {
            name
        } else {
            format!("{name} ({id})")
        };
        // Writing to a string can't fail.
        let _ = write!(sql, ", v{id} AS \"{}\"", shown.replace('"', "\"\""));
    }
    sql.push_str(" FROM row JOIN rig ON rig.id = row.rig;");
    drop(sensors);
    drop(select);
    connection.execute_batch(&sql)
}
