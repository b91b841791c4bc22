//! A kind of file: its mark, its versions, and how connections to it are configured.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::OpenError;
use crate::roll_back;

/// How long to wait for another process that holds the file's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// Between two tries where SQLite doesn't wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// The log is copied into the file when it has this many pages of 4 KiB (16 MiB): pages that are
/// written again meanwhile are copied once for many commits.
const CHECKPOINT_PAGES: i32 = 4096;
/// What the log is cut to after it has grown past it, in bytes.
const LOG_LIMIT: i64 = 64 << 20;

/// A kind of database file.
#[derive(Debug)]
pub struct FileKind {
    /// What messages call the file's content: `queue`, `store`.
    pub what: &'static str,
    /// SQLite's `application_id`, which tells the file from those of other programs.
    pub application_id: i32,
    /// SQL that creates version 1, and then the step from each version to the next.
    pub migrations: &'static [&'static str],
    /// Tables of a file from before it had a mark, in order of name; none if there was no such time.
    /// Its tables are those of version 1, and the first migration changes nothing that is there.
    pub unmarked_tables: &'static [&'static str],
    /// Runs after a migration, in the same transaction.
    pub after_migration: fn(&Connection) -> rusqlite::Result<()>,
    /// Page cache of the connection that writes, in KiB.
    pub writer_cache: i32,
    /// Page cache of a connection that reads, in KiB.
    pub reader_cache: i32,
    /// Prepared statements that a connection keeps.
    pub statements: usize,
}

/// The version of a file's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// No tables yet.
    Empty,
    /// From before there was a mark.
    Unmarked,
    Marked(i32),
}

impl FileKind {
    /// Opens or creates the file for writing, and migrates it to the newest version.
    pub fn open(&self, path: &Path) -> Result<Connection, OpenError> {
        let failed = |error: rusqlite::Error| OpenError::new(self.what, path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_LIMIT).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(self.statements);
        if connection.is_readonly("main").map_err(failed)? {
            return Err(OpenError::Unusable {
                path: path.to_owned(),
                detail: "it can't be written to: check its owner and permissions".to_owned(),
            });
        }
        // Before anything is changed: another program's file stays as it is.
        self.version(path, &connection)?;
        self.configure(path, &connection)?;
        self.migrate(path, &connection)?;
        Ok(connection)
    }

    /// Opens a file that exists, for reading only, also beside a process that writes to it. Needs no
    /// permission to write to the file or its directory.
    pub fn open_read_only(&self, path: &Path) -> Result<Connection, OpenError> {
        let missing = || OpenError::Missing {
            what: self.what,
            path: path.to_owned(),
        };
        if matches!(path.try_exists(), Ok(false)) {
            return Err(missing());
        }
        let failed = |error: rusqlite::Error| OpenError::new(self.what, path, &error);
        let connection = reader(path).map_err(failed)?;
        connection.busy_timeout(BUSY_LIMIT).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(self.statements);
        connection
            .pragma_update(None, "cache_size", -self.reader_cache)
            .map_err(failed)?;
        let found = match self.version(path, &connection)? {
            Version::Marked(version) if version == self.newest() => return Ok(connection),
            Version::Empty => return Err(missing()),
            Version::Unmarked => 0,
            Version::Marked(version) => version,
        };
        Err(OpenError::Older {
            path: path.to_owned(),
            found,
            known: self.newest(),
        })
    }

    const fn newest(&self) -> i32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "there are few migrations"
        )]
        let newest = self.migrations.len() as i32;
        newest
    }

    fn version(&self, path: &Path, connection: &Connection) -> Result<Version, OpenError> {
        let failed = |error: rusqlite::Error| OpenError::new(self.what, path, &error);
        // In one statement: another process may be creating the tables.
        let (application, version, tables) = connection
            .query_row(
                "SELECT application_id, user_version,
                    (SELECT coalesce(group_concat(name), '')
                     FROM (SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name))
                 FROM pragma_application_id, pragma_user_version",
                [],
                |row| {
                    let (application, version) = (row.get::<_, i32>(0)?, row.get::<_, i32>(1)?);
                    Ok((application, version, row.get::<_, String>(2)?))
                },
            )
            .map_err(failed)?;
        let foreign = |detail: String| OpenError::Foreign {
            what: self.what,
            path: path.to_owned(),
            detail,
        };
        if application == self.application_id {
            return match version {
                1.. if version <= self.newest() => Ok(Version::Marked(version)),
                1.. => Err(OpenError::Newer {
                    path: path.to_owned(),
                    found: version,
                    known: self.newest(),
                }),
                _ => Err(foreign(format!("version {version}"))),
            };
        }
        match (application, version) {
            (0, 0) if tables.is_empty() => Ok(Version::Empty),
            (0, 0) if tables == self.unmarked_tables.join(",") => Ok(Version::Unmarked),
            _ => Err(foreign(format!(
                "application id {application}, tables {tables:?}"
            ))),
        }
    }

    fn configure(&self, path: &Path, connection: &Connection) -> Result<(), OpenError> {
        let failed = |error: rusqlite::Error| OpenError::new(self.what, path, &error);
        let mode = write_ahead_log(connection).map_err(failed)?;
        if mode != "wal" {
            return Err(OpenError::Unusable {
                path: path.to_owned(),
                detail: format!(
                    "its journal mode stays {mode:?}: name a directory on a local disk, network \
                     file systems can't share memory"
                ),
            });
        }
        let pragmas = || {
            // Every commit is on disk before it returns; on macOS that takes two settings more.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "fullfsync", true)?;
            connection.pragma_update(None, "checkpoint_fullfsync", true)?;
            connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            connection.pragma_update(None, "cache_size", -self.writer_cache)
        };
        pragmas().map_err(failed)
    }

    /// Migrates the tables to the newest version. Another process may be doing the same.
    fn migrate(&self, path: &Path, connection: &Connection) -> Result<(), OpenError> {
        let failed = |error: rusqlite::Error| OpenError::new(self.what, path, &error);
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(failed)?;
        let migrated = self.version(path, connection).and_then(|found| {
            let mut done = match found {
                Version::Empty | Version::Unmarked => 0,
                Version::Marked(version) => version,
            };
            if done == self.newest() {
                return Ok(());
            }
            for step in self.migrations.iter().skip(done.unsigned_abs() as usize) {
                connection.execute_batch(step).map_err(failed)?;
                done += 1;
            }
            connection
                .pragma_update(None, "application_id", self.application_id)
                .and_then(|()| connection.pragma_update(None, "user_version", done))
                .and_then(|()| (self.after_migration)(connection))
                .map_err(failed)
        });
        let committed = migrated.and_then(|()| connection.execute_batch("COMMIT").map_err(failed));
        roll_back(connection);
        committed
    }
}

/// A connection that only reads.
///
/// SQLite shares the log's index with other processes in a file beside it. Where that file doesn't exist
/// and can't be created, it can't open the log. If there is no log either, nobody writes, and the file is
/// read as one that doesn't change.
fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let tried = connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0));
    let Err(error) = tried else {
        return Ok(connection);
    };
    let is_unwritable = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    );
    match unchanging(path) {
        Ok(uri) if is_unwritable && !has_log(path) => {
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        // The first query fails with the error.
        _ => Ok(connection),
    }
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match std::fs::metadata(&log) {
        Ok(data) => data.len() > 0,
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// The address of a file that doesn't change while it is read.
fn unchanging(path: &Path) -> std::io::Result<String> {
    let path = path.canonicalize()?;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    Ok(uri)
}

/// Switches the file to write-ahead logging; returns its mode. SQLite itself doesn't wait here when
/// two processes would wait for each other, as they do when both create the file.
fn write_ahead_log(connection: &Connection) -> rusqlite::Result<String> {
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
