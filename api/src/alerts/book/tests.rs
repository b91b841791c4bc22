use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use queue::State;

use super::{Book, KEPT_EVENTS, MAX_WAITING};
use crate::alerts::event::Event;
use crate::alerts::machine::{AlertState, Machine};
use crate::alerts::rule::{Limit, Rule};

const SERIES: &str = r#"{"color":"red"}"#;

fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).plus(Duration::from_secs(second))
}

fn rule(name: &str, webhooks: &[&str]) -> Rule {
    Rule {
        name: name.to_owned(),
        field: "mean".to_owned(),
        above: Some(Limit {
            threshold: 90.0,
            clear: 90.0,
        }),
        below: None,
        hold: Duration::ZERO,
        stale_after: Some(Duration::from_mins(1)),
        tags: BTreeMap::new(),
        webhooks: webhooks.iter().map(|url| (*url).to_owned()).collect(),
        delay: Duration::ZERO,
    }
}

/// What the queue has after the book's commit.
fn commit(book: &mut Book, state: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<Event> {
    if let Some(written) = book.changes() {
        for key in written.deletes {
            state.remove(&key);
        }
        state.extend(written.puts);
    }
    let new = book.committed().cloned().collect();
    assert_eq!(book.changes(), None);
    new
}

fn load(rules: &[Rule], state: &BTreeMap<Vec<u8>, Vec<u8>>) -> Book {
    let state: State = state
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Book::load("colors", Arc::from(rules), state)
}

fn take(book: &mut Book, second: u64, value: f64) {
    let first = Machine::new(at(0));
    let row = (at(second), Some(value));
    book.take(0, SERIES, &first, row, at(second));
}

#[test]
fn what_is_committed_is_there_after_a_restart() {
    let rules = [rule("high", &["http://a/", "http://b/"])];
    let mut state = BTreeMap::new();
    let mut book = load(&rules, &state);
    assert_eq!(book.changes(), None, "nothing has changed");
    take(&mut book, 1, 95.0);
    assert_eq!(book.next_for("http://a/"), None, "not committed yet");
    let new = commit(&mut book, &mut state);
    assert_eq!(new.len(), 1);
    assert_eq!(
        new[0].tags,
        BTreeMap::from([("color".into(), "red".into())])
    );
    let (number, delivery) = book.next_for("http://a/").unwrap();
    assert_eq!((number, &delivery.event), (0, &new[0]));
    book.done("http://a/", number);
    commit(&mut book, &mut state);

    let mut again = load(&rules, &state);
    assert_eq!(again.changes(), None);
    assert_eq!(again.firing(), 1);
    assert_eq!(again.events().collect::<Vec<_>>(), [&new[0]]);
    assert_eq!(again.next_for("http://a/"), None, "it was delivered");
    assert_eq!(again.next_for("http://b/").unwrap().1.event.id, new[0].id);
    take(&mut again, 1, 10.0);
    assert_eq!(again.changes(), None, "the row was evaluated before");
    take(&mut again, 2, 10.0);
    let new = commit(&mut again, &mut state);
    assert_eq!(new[0].state, AlertState::Resolved);
    assert_eq!(again.next_for("http://b/").unwrap().0, 0, "in order");
    again.done("http://b/", 0);
    assert_eq!(again.next_for("http://b/").unwrap().0, 1);
}

#[test]
fn rows_that_change_nothing_are_written_together() {
    let rules = [rule("high", &[])];
    let mut state = BTreeMap::new();
    let mut book = load(&rules, &state);
    take(&mut book, 1, 10.0);
    commit(&mut book, &mut state);
    take(&mut book, 2, 11.0);
    take(&mut book, 3, 12.0);
    assert_eq!(book.changes(), None);
    let killed = load(&rules, &state);
    assert_eq!(killed.machine(0, SERIES).unwrap().evaluated, at(1));
    book.write_moved();
    commit(&mut book, &mut state);
    let stopped = load(&rules, &state);
    assert_eq!(stopped.machine(0, SERIES), book.machine(0, SERIES));
    // What a row changes is written at once, with its time.
    take(&mut book, 4, 13.0);
    take(&mut book, 5, 95.0);
    commit(&mut book, &mut state);
    let killed = load(&rules, &state);
    assert_eq!(killed.machine(0, SERIES), book.machine(0, SERIES));
    book.write_moved();
    assert_eq!(book.changes(), None);
}

#[test]
fn what_the_file_no_longer_has_and_what_cannot_be_read_is_deleted() {
    let rules = [rule("high", &["http://a/"])];
    let mut state = BTreeMap::new();
    let mut book = load(&rules, &state);
    take(&mut book, 1, 95.0);
    commit(&mut book, &mut state);
    state.insert(b"a[".to_vec(), Vec::new());
    state.insert(b"x".to_vec(), Vec::new());
    state.insert(b"e7".to_vec(), b"{}".to_vec());
    let mut other = load(&[rule("other", &["http://c/"])], &state);
    assert_eq!(other.firing(), 0);
    commit(&mut other, &mut state);
    let left: Vec<_> = state.keys().collect();
    assert_eq!(left, [b"e0"], "events are kept");
}

#[test]
fn series_without_rows_end_their_alerts() {
    let rules = [rule("high", &[])];
    let mut state = BTreeMap::new();
    let mut book = load(&rules, &state);
    take(&mut book, 1, 95.0);
    book.keep_only(0, &BTreeSet::from([SERIES]), at(5));
    assert_eq!(commit(&mut book, &mut state).len(), 1);
    book.keep_only(0, &BTreeSet::new(), at(6));
    let new = commit(&mut book, &mut state);
    assert_eq!(new[0].state, AlertState::Resolved);
    assert_eq!(book.machines().count(), 0);
    assert_eq!(load(&rules, &state).machines().count(), 0);
}

#[test]
fn only_the_newest_events_are_kept_and_wait() {
    let rules = [rule("high", &["http://a/"])];
    let mut state = BTreeMap::new();
    let mut book = load(&rules, &state);
    let more = u64::try_from(MAX_WAITING).unwrap() + 10;
    for second in 1..=more {
        take(&mut book, second, if second % 2 == 1 { 95.0 } else { 5.0 });
    }
    assert_eq!(book.give_up_oldest(), 10);
    commit(&mut book, &mut state);
    assert_eq!(book.events().count(), KEPT_EVENTS);
    assert_eq!(book.next_for("http://a/").unwrap().0, 10);
    assert_eq!(state.len(), 1 + KEPT_EVENTS + MAX_WAITING);
    let again = load(&rules, &state);
    assert_eq!(again.events().next(), book.events().next());
    assert_eq!(again.next_for("http://a/"), book.next_for("http://a/"));
}
