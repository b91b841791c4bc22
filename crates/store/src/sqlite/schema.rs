//! The schema of the file.

use std::collections::HashSet;
use std::fmt::Write;

use model::element::Layout;
use rusqlite::{Connection, OptionalExtension};
use sqlite::FileKind;

use super::series::layout_of;

/// Most tags that the view `rows` has columns for. SQLite allows 2,000 columns, and fields need 1,000.
const MAX_TAG_COLUMNS: i64 = 100;

/// The kind of SQLite file that holds a store.
pub(super) const STORE: FileKind = FileKind {
    what: "store",
    // The letters `RIGL`.
    application_id: 0x5249_474C,
    migrations: &[include_str!("schema.sql"), include_str!("schema-2.sql")],
    unmarked_tables: &[],
    after_migration: |connection| {
        // A file without series is shown as its writer needs it when the first row is written.
        let layout = layout(connection)?.unwrap_or(Layout::Rigs);
        show_rows(connection, layout)
    },
    // It holds the last pages of several thousand series.
    writer_cache: 24 << 10,
    reader_cache: 8 << 10,
    statements: 128,
};

/// The layout of the file's series. `None` if there are none.
pub(super) fn layout(connection: &Connection) -> rusqlite::Result<Option<Layout>> {
    let key: Option<String> = connection
        .query_row("SELECT key FROM series LIMIT 1", [], |row| row.get(0))
        .optional()?;
    Ok(key.map(|key| layout_of(&key)))
}

/// Makes sure that the view `rows` has a column for each tag and field. It shows rows with names, for users
/// who open the file with a tool.
pub(super) fn show_rows(connection: &Connection, layout: Layout) -> rusqlite::Result<()> {
    let view = view(connection, layout)?;
    let shown: Option<String> = connection
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = 'rows'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    if shown.as_ref() == Some(&view) {
        return Ok(());
    }
    connection.execute_batch(&format!("DROP VIEW IF EXISTS rows; {view}"))
}

/// The statement that creates the view.
fn view(connection: &Connection, layout: Layout) -> rusqlite::Result<String> {
    let mut names = ColumnNames::default();
    let mut sql = String::from("CREATE VIEW rows AS SELECT ");
    // Writing to a string can't fail.
    match layout {
        Layout::Rigs => {
            let _ = write!(sql, "series.key AS {}, ", names.column("rig_id", 0));
        }
        Layout::Tagged => {
            for (id, name) in named(connection, "tag", MAX_TAG_COLUMNS)? {
                let column = names.column(&name, id);
                let _ = write!(sql, "{} AS {column}, ", tag_value(&name));
            }
        }
    }
    sql.push_str(
        "strftime('%Y-%m-%dT%H:%M:%S', tick / 1000000000 - (tick % 1000000000 < 0), 'unixepoch') ||
            CASE tick % 1000000000 WHEN 0 THEN 'Z' ELSE
                printf('.%09dZ', (tick % 1000000000 + 1000000000) % 1000000000) END AS time,
            tick",
    );
    for (id, name) in named(connection, "field", i64::MAX)? {
        let _ = write!(sql, ", v{id} AS {}", names.column(&name, id));
    }
    sql.push_str(" FROM row JOIN series ON series.id = row.series");
    Ok(sql)
}

/// Ids and names of a table, by id.
fn named(connection: &Connection, table: &str, limit: i64) -> rusqlite::Result<Vec<(i64, String)>> {
    connection
        .prepare(&format!(
            "SELECT id, name FROM {table} ORDER BY id LIMIT ?1"
        ))?
        .query_map([limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The expression for a tag's value.
fn tag_value(name: &str) -> String {
    let quoted = name.replace('\'', "''");
    if name.contains(['"', '\\']) {
        // Versions of SQLite differ in how a path says these.
        return format!("(SELECT value FROM json_each(series.key) WHERE key = '{quoted}')");
    }
    format!("json_extract(series.key, '$.\"{quoted}\"')")
}

/// The names of columns, of which no two may differ in case only.
struct ColumnNames {
    taken: HashSet<String>,
}

impl Default for ColumnNames {
    fn default() -> Self {
        Self {
            taken: ["time", "tick"].map(String::from).into(),
        }
    }
}

impl ColumnNames {
    /// The quoted name of a column, followed by its id where another column has the same name.
    fn column(&mut self, name: &str, id: i64) -> String {
        let mut shown = name.to_owned();
        while !self.taken.insert(shown.to_ascii_lowercase()) {
            shown = format!("{shown} ({id})");
        }
        format!("\"{}\"", shown.replace('"', "\"\""))
    }
}
