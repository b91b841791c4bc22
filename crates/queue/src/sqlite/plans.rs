//! No statement reads a whole list: its cost would grow with the backlog.

use std::time::Duration;

use model::{Stage, Timestamp};
use rusqlite::Connection;
use sqlite::testing::{Statements, plan, record};
use tempfile::TempDir;

use super::schema::QUEUE;
use super::{Limits, dead_letters, steps};
use crate::dead_letters::{DeadLetterEntry, Kinds, Replay};
use crate::list::List;
use crate::{Append, Commit};

/// Tables whose size doesn't depend on the backlog.
const SMALL: [&str; 3] = ["ledger", "meta", "consumer"];

/// The steps of a statement that read a whole table.
fn scans(connection: &Connection, sql: &str) -> Vec<String> {
    let reads_all = |step: &String| {
        let table = step.strip_prefix("SCAN ");
        table.is_some_and(|table| !SMALL.contains(&table) && table != "CONSTANT ROW")
    };
    let steps = plan(connection, sql).into_iter();
    steps.filter(reads_all).collect()
}

#[test]
fn no_statement_reads_a_whole_list() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("queue.db");
    let mut traced = QUEUE.open(&path).unwrap();
    let statements = Statements::default();
    record(&mut traced, &statements);
    run_every_call(&traced);
    let statements = statements.lock().unwrap();
    assert!(statements.len() >= 20, "{statements:#?}");
    let connection = QUEUE.open_read_only(&path).unwrap();
    for sql in statements.iter() {
        assert_eq!(scans(&connection, sql), Vec::<String>::new(), "{sql}");
    }
    let whole = "SELECT max(id) - min(id) FROM raw";
    assert_eq!(scans(&connection, whole), ["SCAN raw"], "the test can fail");
}

fn run_every_call(tx: &Connection) {
    let limits = Limits {
        list: 100,
        dead_count: 1,
        dead_bytes: 1_000,
    };
    let now = Timestamp::from_nanos(1);
    let append = Append {
        raw: vec![b"a".to_vec(), b"b".to_vec()],
        dead: vec![b"c".to_vec(), b"d".to_vec()],
        ..Append::default()
    };
    steps::append(tx, &append, limits).unwrap();
    let limit = Duration::from_secs(3);
    for consumer in [Stage::Transformer, Stage::Sink] {
        let lease = steps::lease(tx, consumer, "nonce", limit, "instance", now);
        let lease = lease.unwrap().unwrap();
        steps::renew(tx, &lease, now).unwrap();
        steps::state(tx, &lease, now).unwrap();
        let peeked = steps::peek(tx, consumer, 0, 1).unwrap();
        assert_eq!(peeked.items.len(), 1);
        let commit = Commit {
            number: peeked.number,
            take: 1,
            last_taken: peeked.items.last().cloned(),
            outputs: vec![b"row".to_vec()],
            dead: vec![b"e".to_vec()],
            puts: vec![(b"key".to_vec(), b"value".to_vec())],
            deletes: vec![b"other".to_vec()],
            ..Commit::default()
        };
        steps::commit(tx, &lease, &commit, limits, now).unwrap();
        steps::progress(tx, consumer).unwrap();
        steps::snapshot(tx, now).unwrap();
        steps::release(tx, &lease, now).unwrap();
    }
    for list in [List::Raw, List::Normalized, List::Dead] {
        steps::stretch(tx, list, Some(1), 10, now).unwrap();
    }
    let letters = dead_letters::dead_letters(tx, 0, 10).unwrap();
    let mut kinds = Kinds::default();
    dead_letters::count_some(tx, &mut kinds, 0).unwrap();
    let entry: DeadLetterEntry = letters[0].clone();
    let replay = Replay {
        entry,
        marked: b"marked".to_vec(),
        list: List::Raw,
        elements: vec![b"a".to_vec()],
    };
    dead_letters::replay(tx, &replay, limits).unwrap();
}
