//! A record of the appends and commits in a queue's file, and a check of the file's integrity. Triggers
//! write the record within the recorded transactions, so that it can't differ from them.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};

use crate::list::List;

/// How long to wait for the file's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(30);

/// The table of the record, and its triggers.
const RECORD: &str = "
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        event TEXT NOT NULL,
        item BLOB,
        consumer TEXT,
        before INTEGER,
        number INTEGER,
        by TEXT,
        holder TEXT
    );
    CREATE TRIGGER audit_raw AFTER INSERT ON raw BEGIN
        INSERT INTO audit (event, item) VALUES ('raw', new.item);
    END;
    CREATE TRIGGER audit_normalized AFTER INSERT ON normalized BEGIN
        INSERT INTO audit (event, item) VALUES ('normalized', new.item);
    END;
    CREATE TRIGGER audit_dead AFTER INSERT ON dead BEGIN
        INSERT INTO audit (event, item) VALUES ('dead', new.item);
    END;
    CREATE TRIGGER audit_commit AFTER UPDATE OF number ON consumer BEGIN
        INSERT INTO audit (event, consumer, before, number, by, holder)
        VALUES ('commit', new.name, old.number, new.number, new.by, new.token);
    END;";

/// A recorded change of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audited {
    /// An element was appended to a list.
    Appended(List, Vec<u8>),
    /// A consumer's commit number changed.
    Committed {
        /// The consumer's name.
        consumer: String,
        /// The number before.
        before: i64,
        /// The number after.
        number: i64,
        /// The token of the commit.
        by: String,
        /// The token of the lease.
        holder: String,
    },
}

/// Starts to record all appends and commits in the queue's file.
pub fn audit(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(BUSY_LIMIT).unwrap();
    connection.execute_batch(RECORD).unwrap();
}

/// Passes the record to `take`, in order. The file is only read.
pub fn audited(path: &Path, mut take: impl FnMut(Audited)) {
    let connection = read_only(path).unwrap();
    let sql = "SELECT event, item, consumer, before, number, by, holder FROM audit ORDER BY id";
    let mut select = connection.prepare(sql).unwrap();
    let mut rows = select.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        take(record(row).unwrap());
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Audited> {
    let event: String = row.get(0)?;
    let list = match event.as_str() {
        "raw" => List::Raw,
        "normalized" => List::Normalized,
        "dead" => List::Dead,
        _ => {
            return Ok(Audited::Committed {
                consumer: row.get(2)?,
                before: row.get(3)?,
                number: row.get(4)?,
                by: row.get(5)?,
                holder: row.get(6)?,
            });
        }
    };
    Ok(Audited::Appended(list, row.get(1)?))
}

/// Runs SQLite's integrity check of all pages, rows and indexes. Returns the errors, if any. The file is
/// only read, so that its WAL stays as a killed process left it.
#[must_use]
pub fn damage(path: &Path) -> Option<String> {
    let found = read_only(path).and_then(|connection| {
        let mut check = connection.prepare("PRAGMA integrity_check")?;
        let lines = check.query_map([], |row| row.get::<_, String>(0))?;
        lines.collect::<rusqlite::Result<Vec<_>>>()
    });
    match found {
        Ok(lines) if lines == ["ok"] => None,
        Ok(lines) => Some(lines.join("; ")),
        Err(error) => Some(error.to_string()),
    }
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_LIMIT)?;
    Ok(connection)
}

/// The write lock of an SQLite file, as another program would hold it, until this is dropped.
pub struct WriteLock {
    _connection: Connection,
}

impl WriteLock {
    /// Acquires the file's lock.
    #[must_use]
    pub fn take(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(BUSY_LIMIT).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self {
            _connection: connection,
        }
    }
}

impl fmt::Debug for WriteLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteLock")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use common::clock::Clock;
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::{Audited, audit, audited, damage};
    use crate::list::List;
    use crate::sqlite::SqliteQueue;
    use crate::testing::settings;
    use crate::{Append, Commit, Queue};
    use model::Stage;

    #[tokio::test]
    async fn appends_and_commits_are_recorded_in_order() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("queue.db");
        let open = || SqliteQueue::open(&path, &settings(), Clock::system()).unwrap();
        drop(open());
        audit(&path);
        let queue = open();
        let append = Append {
            raw: vec![b"a".to_vec(), b"b".to_vec()],
            dead: vec![b"c".to_vec()],
            ..Append::default()
        };
        queue.append(&append).await.unwrap();
        let limit = Duration::from_mins(1);
        let lease = queue.lease(Stage::Transformer, "me", limit).await;
        let lease = lease.unwrap().unwrap();
        let commit = Commit {
            take: 2,
            outputs: vec![b"row".to_vec()],
            ..Commit::default()
        };
        queue.commit(&lease, &commit).await.unwrap();
        let mut found = Vec::new();
        audited(&path, |record| found.push(record));
        let appended = |list, item: &[u8]| Audited::Appended(list, item.to_vec());
        let expected = [
            appended(List::Raw, b"a"),
            appended(List::Raw, b"b"),
            appended(List::Dead, b"c"),
            appended(List::Normalized, b"row"),
            Audited::Committed {
                consumer: "transformer".into(),
                before: 0,
                number: 1,
                by: lease.token.clone(),
                holder: lease.token,
            },
        ];
        assert_eq!(found, expected);
        assert_eq!(damage(&path), None);
    }

    #[test]
    fn damage_is_found_in_a_corrupt_file() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("any.db");
        let connection = Connection::open(&path).unwrap();
        let table = "CREATE TABLE t (a TEXT); CREATE INDEX i ON t (a);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
            INSERT INTO t SELECT 'row ' || i FROM n";
        connection.execute_batch(table).unwrap();
        drop(connection);
        assert_eq!(damage(&path), None);
        let mut bytes = fs::read(&path).unwrap();
        let page = bytes.len() / 2 / 4_096 * 4_096;
        bytes[page..page + 64].fill(0xA5);
        fs::write(&path, bytes).unwrap();
        assert!(damage(&path).is_some());
        assert!(damage(&dir.path().join("none.db")).is_some());
    }

    #[test]
    fn integrity_check_does_not_change_the_files() {
        let dir = TempDir::new().unwrap();
        let (path, left) = (dir.path().join("any.db"), dir.path().join("left.db"));
        let connection = Connection::open(&path).unwrap();
        let table = "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)";
        connection.execute_batch(table).unwrap();
        // A killed process doesn't write the log back.
        let files = [path.clone(), dir.path().join("any.db-wal")];
        let copies = [left.clone(), dir.path().join("left.db-wal")];
        for (file, copy) in files.iter().zip(&copies) {
            fs::copy(file, copy).unwrap();
        }
        let now = || copies.clone().map(|copy| fs::read(copy).unwrap());
        let before = now();
        assert!(!before[1].is_empty(), "no log");
        assert_eq!(damage(&left), None);
        assert!(before == now(), "the files were changed");
    }
}
