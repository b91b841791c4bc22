use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::clock::Clock;
use model::{Layout, Name, Row, Timestamp, Value};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{STEP, Sweep, step};
use crate::sqlite::memory::{HOUR, Memory};
use crate::sqlite::schema::STORE;
use crate::sqlite::{batch, write};

struct File {
    connection: Connection,
    memory: Memory,
    path: PathBuf,
    _dir: TempDir,
}

impl File {
    fn new() -> Self {
        let dir = TempDir::with_prefix("store-").unwrap();
        let path = dir.path().join("store.db");
        Self {
            connection: STORE.open(&path).unwrap(),
            memory: Memory::new(Layout::Rigs),
            path,
            _dir: dir,
        }
    }

    /// Stores a row with a value of `field` at each tick.
    fn write(&mut self, rig: &str, field: &'static str, ticks: impl IntoIterator<Item = i64>) {
        let rows: Vec<_> = ticks
            .into_iter()
            .map(|tick| {
                let mut row = Row::of_rig(Name::new(rig).unwrap(), Timestamp::from_nanos(tick));
                row.fields.push((Name::new(field).unwrap(), 0.5.into()));
                row
            })
            .collect();
        let batch = batch::encode(Layout::Rigs, &rows).unwrap();
        self.connection.execute_batch("BEGIN").unwrap();
        self.memory.refresh(&self.connection).unwrap();
        write::store(&self.connection, &mut self.memory, &batch).unwrap();
        self.connection.execute_batch("COMMIT").unwrap();
    }

    /// Stores one row with a value of each field.
    fn try_write(&mut self, rig: &str, fields: &[&'static str], tick: i64) -> Result<(), String> {
        let mut row = Row::of_rig(Name::new(rig).unwrap(), Timestamp::from_nanos(tick));
        for field in fields {
            row.fields.push((Name::new(*field).unwrap(), 0.5.into()));
        }
        self.try_write_rows(&[row])
    }

    fn try_write_rows(&mut self, rows: &[Row<'_>]) -> Result<(), String> {
        let batch = batch::encode(Layout::Rigs, rows).unwrap();
        self.connection.execute_batch("BEGIN").unwrap();
        self.memory.refresh(&self.connection).unwrap();
        let stored = write::store(&self.connection, &mut self.memory, &batch);
        let end = if stored.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.connection.execute_batch(end).unwrap();
        if stored.is_err() {
            self.memory.clear();
        }
        stored.map_err(|refusal| format!("{refusal:?}"))
    }

    fn number(&self, sql: &str) -> i64 {
        let read = self.connection.query_row(sql, [], |row| row.get(0));
        read.unwrap()
    }

    fn rows(&self) -> i64 {
        self.number("SELECT count(*) FROM row")
    }

    fn sweep(&mut self, sweep: &mut Sweep) {
        sweep.step_if_due(&self.connection, &self.path, &mut self.memory);
    }
}

#[test]
fn step_deletes_at_most_its_limit_and_the_next_step_continues() {
    let mut file = File::new();
    file.write("A", "a", 0..25);
    file.write("B", "a", 50..60);
    file.write("C", "a", 0..5);
    file.write("D", "a", 90..100);
    let mut at = i64::MIN;
    // Visiting a rig counts as a row: B has nothing to delete.
    for (left, rigs, goes_on) in [(40, 4, true), (30, 4, true), (21, 3, true), (20, 2, false)] {
        let done = step(&file.connection, at, 50, 10).unwrap();
        assert_eq!(done.at.is_some(), goes_on, "{left}");
        assert_eq!(
            (file.rows(), file.number("SELECT count(*) FROM series")),
            (left, rigs)
        );
        at = done.at.unwrap_or(i64::MIN);
    }
    let done = step(&file.connection, i64::MIN, 50, 10).unwrap();
    assert!(done.at.is_none() && !done.vanished, "nothing is left to do");
}

#[test]
fn field_without_values_is_recorded_again_with_its_next_value() {
    let mut file = File::new();
    let noted = "SELECT count(*) FROM newest";
    file.write("R", "b", [HOUR * 5 + HOUR / 2, HOUR * 7]);
    // The first hour that is left, the same as is known already, and an older one.
    for tick in [HOUR * 5 + 1, HOUR * 5 + 2, HOUR * 3] {
        file.write("R", "a", [tick]);
        assert_eq!((file.rows(), file.number(noted)), (3, 2));
        let clock = Clock::behind(since(HOUR * 5 + HOUR / 4));
        file.sweep(&mut Sweep::new(Duration::from_nanos(1), clock));
        assert_eq!((file.rows(), file.number(noted)), (2, 1));
    }
}

#[test]
fn column_of_a_field_without_values_is_given_to_a_new_one() {
    const MOST: usize = 1_000;
    let mut file = File::new();
    file.write("R", "old", [1]);
    file.write("R", "next", [HOUR]);
    let names: Vec<&str> = (2..MOST)
        .map(|number| &*Box::leak(format!("s{number}").into_boxed_str()))
        .collect();
    file.try_write("R", &names, 5 * HOUR).unwrap();
    assert!(file.try_write("R", &["new"], 5 * HOUR).is_err());
    // All values of `old` go, then those of `next`.
    let clock = Clock::behind(since(2));
    file.sweep(&mut Sweep::new(Duration::from_nanos(1), clock));
    // A batch that has the old field, too, keeps its column.
    assert!(file.try_write("R", &["old", "new"], 5 * HOUR).is_err());
    file.try_write("R", &["new"], 6 * HOUR).unwrap();
    assert!(file.try_write("R", &["old"], 6 * HOUR).is_err());
    let clock = Clock::behind(since(2 * HOUR));
    file.sweep(&mut Sweep::new(Duration::from_nanos(1), clock));
    // A value that is written meanwhile keeps a column, too.
    file.try_write("R", &["next"], 7 * HOUR).unwrap();
    assert!(file.try_write("R", &["old"], 7 * HOUR).is_err());
    let said = |sql: &str| {
        let read = file
            .connection
            .query_row(sql, [], |row| row.get::<_, i64>(0));
        read.unwrap()
    };
    assert_eq!(said("SELECT count(*) FROM field"), count_of(MOST));
    assert_eq!(said("SELECT count(new) FROM rows"), 1);
    assert_eq!(said("SELECT tick FROM rows WHERE new = 0.5"), 6 * HOUR);
    assert_eq!(said("SELECT tick FROM rows WHERE next = 0.5"), 7 * HOUR);
}

#[test]
fn field_without_values_may_come_back_with_another_type() {
    let mut file = File::new();
    let row = |tick, value: Value| {
        let mut row = Row::of_rig(Name::new("R").unwrap(), Timestamp::from_nanos(tick));
        row.fields.push((Name::new("x").unwrap(), value));
        row
    };
    file.write("R", "kept", [HOUR]);
    file.try_write_rows(&[row(1, 0.5.into())]).unwrap();
    let refused = file.try_write_rows(&[row(2, Value::Integer(2))]);
    assert!(
        refused
            .unwrap_err()
            .contains("already exists as type float")
    );
    let clock = Clock::behind(since(HOUR / 2));
    file.sweep(&mut Sweep::new(Duration::from_nanos(1), clock));
    assert_eq!(file.rows(), 1);
    // Within one batch, too, it has one type.
    let both = [row(HOUR, 0.5.into()), row(2 * HOUR, Value::Integer(2))];
    let refused = file.try_write_rows(&both).unwrap_err();
    assert!(refused.contains("row 2 of 2"), "{refused}");
    assert!(
        refused.contains("type integer, but already exists as type float"),
        "{refused}"
    );
    file.try_write_rows(&[row(HOUR, Value::Integer(2))])
        .unwrap();
    file.try_write_rows(&[row(2 * HOUR, 0.5.into())])
        .unwrap_err();
    assert_eq!(file.number("SELECT x FROM rows WHERE x IS NOT NULL"), 2);
    assert_eq!(
        file.number("SELECT type = 'integer' FROM field WHERE name = 'x'"),
        1
    );
}

#[test]
fn column_is_given_to_a_field_of_another_type() {
    const MOST: usize = 1_000;
    let mut file = File::new();
    file.write("R", "old", [1]);
    let names: Vec<&str> = (1..MOST)
        .map(|number| &*Box::leak(format!("s{number}").into_boxed_str()))
        .collect();
    file.try_write("R", &names, 5 * HOUR).unwrap();
    let clock = Clock::behind(since(2));
    file.sweep(&mut Sweep::new(Duration::from_nanos(1), clock));
    let mut row = Row::of_rig(Name::new("R").unwrap(), Timestamp::from_nanos(6 * HOUR));
    let name = Name::new("new").unwrap();
    row.fields.push((name, Value::String("text".into())));
    file.try_write_rows(&[row]).unwrap();
    assert_eq!(
        file.number("SELECT count(*) FROM rows WHERE new = 'text'"),
        1
    );
    assert_eq!(
        file.number("SELECT type = 'string' FROM field WHERE name = 'new'"),
        1
    );
}

/// How far behind a clock has to be to show this tick or a moment later.
fn since(tick: i64) -> Duration {
    Clock::system().now().since(Timestamp::from_nanos(tick))
}

#[test]
fn deletion_keeps_up_with_writes_and_the_file_stops_growing() {
    let mut file = File::new();
    let rows = STEP * 4;
    let mut at = i64::MIN;
    let mut pages = Vec::new();
    for round in 0..40 {
        let start = count_of(rows) * round;
        for rig in ["A", "B"] {
            file.write(rig, "a", start..start + count_of(rows));
        }
        // As a sweep does: twice what was written. The last 10,000 ticks are kept.
        let done = step(&file.connection, at, start - 10_000, 4 * rows).unwrap();
        at = done.at.unwrap_or(i64::MIN);
        pages.push(file.number("PRAGMA page_count"));
    }
    assert!(
        file.rows() < count_of(2 * (10_000 + 2 * rows)),
        "{}",
        file.rows()
    );
    assert!(pages[39] <= pages[10] * 11 / 10, "{pages:?}");
    let said: String = file
        .connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(said, "ok");
}

#[test]
fn sweep_waits_between_steps_unless_rows_are_written() {
    let mut file = File::new();
    file.write("R", "a", 0..count_of(STEP * 4));
    let mut sweep = Sweep::new(Duration::from_hours(1), Clock::system());
    file.sweep(&mut sweep);
    assert_eq!(file.rows(), count_of(STEP * 3));
    // Not due for long.
    sweep.next = Instant::now() + Duration::from_hours(1);
    file.sweep(&mut sweep);
    assert_eq!(file.rows(), count_of(STEP * 3));
    sweep.written(STEP - 1);
    file.sweep(&mut sweep);
    assert_eq!(file.rows(), count_of(STEP * 3));
    sweep.written(1);
    file.sweep(&mut sweep);
    assert_eq!(file.rows(), count_of(STEP), "twice what was written");
    sweep.next = Instant::now();
    file.sweep(&mut sweep);
    assert_eq!(file.rows(), 0);
}

fn count_of(rows: usize) -> i64 {
    i64::try_from(rows).unwrap()
}

#[test]
fn failed_step_is_retried_and_leaves_no_transaction_open() {
    let mut file = File::new();
    file.write("R", "a", 0..10);
    file.connection
        .execute_batch("ALTER TABLE newest RENAME TO aside")
        .unwrap();
    let mut sweep = Sweep::new(Duration::from_hours(1), Clock::system());
    file.sweep(&mut sweep);
    assert!(sweep.ill && file.connection.is_autocommit());
    assert_eq!(file.rows(), 10);
    file.connection
        .execute_batch("ALTER TABLE aside RENAME TO newest")
        .unwrap();
    sweep.next = Instant::now();
    file.sweep(&mut sweep);
    assert!(!sweep.ill);
    assert_eq!(file.rows(), 0);
}
