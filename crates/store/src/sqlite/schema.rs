//! The file: its form, its version, and how connections to it are set up.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::OpenError;
use super::undo;

/// `RIGL`: tells the file from every other program's, see `file(1)`.
const APPLICATION: i32 = 0x5249_474C;
/// The steps from each version to the next.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];
const VERSION: i32 = 1;

/// How long to wait for another process that holds the file's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// Between two tries where SQLite doesn't wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Pages of the log after which it is copied into the file: 16 MiB. Pages that are written again
/// meanwhile, as those at each rig's end are, are copied once.
const CHECKPOINT_PAGES: i32 = 4096;
/// What the log is cut to after it has grown past it, in bytes.
const LOG_LIMIT: i64 = 64 << 20;
/// Memory of the writer's connection in KiB: it has the last pages of several thousand rigs.
const WRITER_CACHE: i32 = 24 << 10;
/// Memory of a reader's connection in KiB.
const READER_CACHE: i32 = 8 << 10;

/// Opens or makes the file, to write to it.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_LIMIT).map_err(failed)?;
    if connection.is_readonly("main").map_err(failed)? {
        return Err(OpenError::Unusable {
            path: path.to_owned(),
            detail: "it can't be written to: look at its owner and rights".to_owned(),
        });
    }
    // Nothing of another program's file is touched.
    version(path, &connection)?;
    set_up(path, &connection)?;
    migrate(path, &connection)?;
    Ok(connection)
}

/// Opens a file that exists, to read it only.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    if matches!(path.try_exists(), Ok(false)) {
        return Err(OpenError::Missing {
            path: path.to_owned(),
        });
    }
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_LIMIT).map_err(failed)?;
    connection
        .pragma_update(None, "cache_size", -READER_CACHE)
        .map_err(failed)?;
    match version(path, &connection)? {
        VERSION => Ok(connection),
        0 => Err(OpenError::Missing {
            path: path.to_owned(),
        }),
        found => Err(OpenError::Older {
            path: path.to_owned(),
            found,
            known: VERSION,
        }),
    }
}

/// The version of the file's tables, 0 if there are none yet.
fn version(path: &Path, connection: &Connection) -> Result<i32, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    // In one statement: another process may be making the tables.
    let (application, found, tables) = connection
        .query_row(
            "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
             FROM pragma_application_id, pragma_user_version",
            [],
            |row| {
                Ok((
                    row.get::<_, i32>(0)?,
                    row.get::<_, i32>(1)?,
                    row.get::<_, i64>(2)?,
                ))
            },
        )
        .map_err(failed)?;
    match (application, found) {
        (0, 0) if tables == 0 => Ok(0),
        (APPLICATION, ..=0) => Err(OpenError::Foreign {
            path: path.to_owned(),
            detail: format!("version {found}"),
        }),
        (APPLICATION, ..=VERSION) => Ok(found),
        (APPLICATION, _) => Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: VERSION,
        }),
        _ => Err(OpenError::Foreign {
            path: path.to_owned(),
            detail: format!("application id {application}, {tables} tables and indexes"),
        }),
    }
}

fn set_up(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let mode = log(connection).map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::Unusable {
            path: path.to_owned(),
            detail: format!(
                "its journal mode stays {mode:?}: name a directory on a local disk, network file \
                 systems can't share memory"
            ),
        });
    }
    let pragmas = || {
        // Every commit reaches the disk before it returns; on macOS that takes a word more.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE)
    };
    pragmas().map_err(failed)
}

/// Has writes go through a log; the mode that the file is in then. SQLite itself doesn't wait here
/// where two processes would wait for each other, as they do when both make the file.
fn log(connection: &Connection) -> rusqlite::Result<String> {
    let started = Instant::now();
    loop {
        let mode =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
        let busy =
            |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        if !mode.as_ref().is_err_and(busy) || started.elapsed() >= BUSY_LIMIT {
            return mode;
        }
        std::thread::sleep(BUSY_PAUSE);
    }
}

/// Brings the tables up to date. Another process may be at it, too.
fn migrate(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(failed)?;
    let migrated = version(path, connection).and_then(|found| {
        let done = usize::try_from(found).unwrap_or(0);
        if done == MIGRATIONS.len() {
            return Ok(());
        }
        for step in &MIGRATIONS[done..] {
            connection.execute_batch(step).map_err(failed)?;
        }
        connection
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(failed)?;
        connection
            .pragma_update(None, "user_version", VERSION)
            .map_err(failed)?;
        show_rows(connection).map_err(failed)
    });
    let finished = migrated.and_then(|()| connection.execute_batch("COMMIT").map_err(failed));
    undo(connection);
    finished
}

/// Makes the view `rows` anew: the rows with their names, for whoever opens the file with a tool.
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
        // Writing to a text can't fail.
        let _ = write!(sql, ", v{id} AS \"{}\"", shown.replace('"', "\"\""));
    }
    sql.push_str(" FROM row JOIN rig ON rig.id = row.rig;");
    drop(sensors);
    drop(select);
    connection.execute_batch(&sql)
}
