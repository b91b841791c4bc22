//! A record of all that happens to a queue's file, written in the transactions that it is about, so
//! that it is as exact as they are; and whether a file is in order.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};

use crate::list::List;

/// How long another program may hold the file's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(30);

/// A table beside the queue's own, which triggers write to.
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

/// Something that happened to a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audited {
    /// An element came into a list.
    Appended(List, Vec<u8>),
    /// A consumer's commit number was changed.
    Committed {
        /// The consumer's name.
        consumer: String,
        /// The number before.
        before: i64,
        /// The number since.
        number: i64,
        /// The token that it was changed under.
        by: String,
        /// The token that had the lease.
        holder: String,
    },
}

/// From now on whatever comes into the lists, and every commit, is recorded in the queue's file.
pub fn audit(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(BUSY_LIMIT).unwrap();
    connection.execute_batch(RECORD).unwrap();
}

/// Hands over all that was recorded, in its order. The file is only read.
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

/// What is wrong with an SQLite file, by its own check of every page, row and index; nothing if it
/// is in order. The file is only read, so that whoever opens it next finds it as it was left.
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

/// Another program at work on an SQLite file: nobody else writes to it until this is dropped.
pub struct WriteLock {
    _connection: Connection,
}

impl WriteLock {
    /// Takes the file's lock.
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
    async fn all_that_happens_is_recorded_and_the_queue_still_opens() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("queue.db");
        let open = || SqliteQueue::open(&path, &settings(), Clock::system()).unwrap();
        drop(open());
        audit(&path);
        let queue = open();
        let append = Append {
            raw: vec![b"a".to_vec(), b"b".to_vec()],
            dead: vec![b"c".to_vec()],
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
        let came = |list, item: &[u8]| Audited::Appended(list, item.to_vec());
        let expected = [
            came(List::Raw, b"a"),
            came(List::Raw, b"b"),
            came(List::Dead, b"c"),
            came(List::Normalized, b"row"),
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
    fn a_damaged_file_is_told_from_one_in_order() {
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
    fn a_look_leaves_what_a_killed_process_has_left() {
        let dir = TempDir::new().unwrap();
        let (path, left) = (dir.path().join("any.db"), dir.path().join("left.db"));
        let connection = Connection::open(&path).unwrap();
        let table = "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)";
        connection.execute_batch(table).unwrap();
        // As a kill leaves them: the log isn't written back.
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
