//! The stored state: restarts, other settings, damage, and its size.

use std::time::Duration;

use model::Value;
use model::dead_letter::Reason;
use model::pipeline::Statistic;

use super::{Line, load, reading, sample, seconds, settings, shown, take, try_take};
use crate::shape::{Changes, Shape};
use crate::window::reference::Taken;

const SUM: &[(&str, Statistic)] = &[("n", Statistic::Count), ("sum", Statistic::Sum)];

fn bytes(changes: &Changes) -> usize {
    let puts = changes.puts.iter();
    puts.map(|(key, value)| key.len() + value.len()).sum()
}

#[test]
fn open_windows_are_in_the_state() {
    let mut line = Line::new(&settings(SUM));
    line.step(&[reading(0.0, 1.0)], 1.0);
    line.step(
        &[reading(1.0, 2.0), sample(9.0, &[("b", Value::Integer(7))])],
        1.0,
    );
    line.restart(&settings(SUM));
    assert_eq!(line.windows.open_rows(), 1);
    // As if everything had arrived with the lease: 10 s to the end of the window, and 2 s of grace.
    assert_eq!(line.step(&[], 11.9), [""; 0]);
    assert_eq!(line.step(&[], 0.1), ["0 a_n=2 a_sum=3 b_n=1 b_sum=7"]);
    line.restart(&settings(SUM));
    assert_eq!(line.step(&[], 60.0), [""; 0], "it isn't emitted again");
    // A repeat is recognised, a correction survives, and is due after the grace period.
    line.step(&[reading(1.0, 2.0), reading(2.0, 4.0)], 1.0);
    line.restart(&settings(SUM));
    assert_eq!(line.step(&[], 2.0), ["0 a_n=3 a_sum=7 b_n=1 b_sum=7"]);
    assert_eq!((line.sum.repeated, line.sum.corrected), (1, 1));
}

#[test]
fn what_was_let_go_is_in_the_state() {
    let mut line = Line::new(&settings(SUM));
    line.step(&[reading(0.0, 1.0), reading(41.0, 1.0)], 0.0);
    assert_eq!(line.state.len(), 2, "a window and a floor");
    // A longer late window doesn't bring it back.
    let mut longer = settings(SUM);
    longer.late_window = Duration::from_hours(1);
    line.restart(&longer);
    let refused = try_take(&mut line.windows, &reading(1.0, 1.0), line.now);
    assert_eq!(refused, Some(Reason::TooLate));
    line.step(&[reading(11.0, 1.0)], 0.0);
    // A shorter one lets go of more.
    let mut shorter = settings(SUM);
    shorter.late_window = Duration::from_secs(10);
    line.restart(&shorter);
    assert_eq!(line.step(&[], 0.0), ["10 a_n=1 a_sum=1"]);
    let refused = try_take(&mut line.windows, &reading(12.0, 1.0), line.now);
    assert_eq!(refused, Some(Reason::TooLate));
}

#[test]
fn windows_of_another_length_are_emitted_under_their_own() {
    let mut line = Line::new(&settings(SUM));
    line.step(&[reading(0.0, 1.0)], 12.0);
    line.step(&[reading(2.0, 2.0), reading(11.0, 4.0)], 0.0);
    line.step(&[reading(20.0, 8.0)], 0.0);
    assert_eq!(line.windows.open_rows(), 3);
    let mut other = settings(SUM);
    other.every = Duration::from_secs(5);
    line.restart(&other);
    assert_eq!(line.windows.open_rows(), 0);
    let rows = line.step(&[], 0.0);
    assert_eq!(
        rows,
        ["0 a_n=2 a_sum=3", "10 a_n=1 a_sum=4", "20 a_n=1 a_sum=8"]
    );
    assert_eq!(line.sum.open_readings, 0);
    let keys: Vec<u8> = line.state.keys().map(|key| key[0]).collect();
    assert_eq!(keys, [b'f'], "and forgotten");
    // Their time isn't too late, and windows may start where the old ones did, also in the same commit.
    line.restart(&other);
    let rows = line.step(&[reading(1.5, 1.0), reading(11.0, 1.0)], 12.0);
    assert_eq!(rows, ["0 a_n=1 a_sum=1", "10 a_n=1 a_sum=1"]);
    // What was let go before is.
    let refused = try_take(&mut line.windows, &reading(-30.0, 1.0), line.now);
    assert_eq!(refused, Some(Reason::TooLate));
}

#[test]
fn old_and_new_length_share_a_commit() {
    let mut line = Line::new(&settings(SUM));
    line.step(&[reading(0.0, 1.0)], 0.0);
    let mut other = settings(SUM);
    other.every = Duration::from_secs(5);
    line.restart(&other);
    assert_eq!(line.step(&[reading(1.0, 2.0)], 0.0), ["0 a_n=1 a_sum=1"]);
    line.restart(&other);
    assert_eq!(line.step(&[], 6.0), ["0 a_n=1 a_sum=2"]);
}

/// Other statistics and names need nothing: the readings are all there.
#[test]
fn other_statistics_are_those_of_all_readings() {
    let mut line = Line::new(&settings(SUM));
    line.step(&[reading(0.0, 1.0), reading(1.0, 5.0)], 1.0);
    line.restart(&settings(&[("max", Statistic::Max)]));
    assert_eq!(line.step(&[], 12.0), ["0 a_max=5"]);
}

#[test]
fn drain_emits_what_is_open_and_deletes_the_state() {
    let mut line = Line::new(&settings(SUM));
    let other = Taken {
        series: "Q".into(),
        ..reading(100.0, 1.0)
    };
    line.step(&[reading(0.0, 1.0), reading(41.0, 1.0)], 12.0);
    line.step(&[other, reading(42.0, 1.0)], 0.0);
    line.windows.drain().unwrap();
    assert_eq!(
        shown(&line.commit()),
        ["40 a_n=2 a_sum=2", "Q100 a_n=1 a_sum=1"]
    );
    assert!(line.state.is_empty());
    assert_eq!(line.sum.open_readings, 0);
    assert_eq!(line.windows.open_rows(), 0);
}

#[test]
fn unreadable_entries_are_deleted_and_may_be_written_anew() {
    let mut line = Line::new(&settings(SUM));
    line.step(&[reading(0.0, 1.0)], 12.0);
    line.step(&[reading(1.0, 1.0)], 0.0);
    assert_eq!(line.state.len(), 3);
    let good = line.state.clone();
    let entry = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    let mut bad = vec![
        entry(b"", b""),
        entry(b"x", b""),
        entry(b"w123", b""),
        entry(b"f{\"device\":\"R\"}", b"123"),
        entry(b"fno tags", &[0; 8]),
        entry(b"e0123456701234567{\"device\":\"other\"}", &[0; 8]),
    ];
    // The chunks of the one window, cut off and of an unknown kind.
    for (place, (key, value)) in good.iter().filter(|(key, _)| key[0] == b'w').enumerate() {
        let mut value = value.clone();
        if place == 0 {
            value.pop();
        } else {
            value[11] = b'?';
        }
        bad.push((key.clone(), value));
    }
    let mark = good.iter().find(|(key, _)| key[0] == b'e').unwrap();
    bad.push((mark.0.clone(), mark.1.clone()));
    let mut windows = load(&settings(SUM), bad);
    take(&mut windows, &reading(2.0, 8.0), Duration::ZERO);
    let changes = windows.finish().unwrap();
    assert_eq!((changes.puts.len(), changes.deletes.len()), (1, 8));
    assert!(
        changes
            .puts
            .iter()
            .all(|(key, _)| !changes.deletes.contains(key))
    );
}

/// The chunks that can be read aren't overwritten.
#[test]
fn readings_beside_an_unreadable_chunk_are_kept() {
    let mut line = Line::new(&settings(SUM));
    for second in [1.0, 2.0, 3.0] {
        line.step(&[reading(second, second)], 0.0);
    }
    let value = line.state.values_mut().next().unwrap();
    value.pop();
    line.restart(&settings(SUM));
    // The ledger still counts what can't be read as open.
    line.step(&[reading(4.0, 4.0)], 0.0);
    assert_eq!((line.state.len(), line.sum.open_readings), (3, 4));
    line.restart(&settings(SUM));
    assert_eq!(line.step(&[], 12.0), ["0 a_n=3 a_sum=9"]);
}

/// However large its window is.
#[test]
fn a_commit_writes_only_its_new_readings() {
    let settings = settings(SUM);
    let mut line = Line::new(&settings);
    let mut number = 0.0;
    for commit in 0..200 {
        for _ in 0..100 {
            number += 1.0;
            let taken = reading(number * 9.9 / 20_000.0, number);
            take(&mut line.windows, &taken, Duration::ZERO);
        }
        let changes = line.commit();
        assert_eq!(changes.puts.len(), 1);
        assert_eq!(bytes(&changes), 100 * 16 + 51, "commit {commit}");
    }
    // Nothing new, nothing written; its row costs a note.
    assert_eq!(line.commit(), Changes::default());
    assert!(line.windows.expire(seconds(20.0), 10).unwrap());
    let changes = line.commit();
    assert_eq!((changes.puts.len(), bytes(&changes)), (1, 39));
    // A correction writes the reading and the note.
    take(&mut line.windows, &reading(3.0, 0.5), seconds(20.0));
    assert!(line.windows.expire(seconds(30.0), 10).unwrap());
    let changes = line.commit();
    assert_eq!((changes.puts.len(), bytes(&changes)), (2, 16 + 51 + 39));
    line.restart(&settings);
    assert_eq!(line.windows.open_rows(), 0);
    let rows = line.step(&[reading(4.0, 0.5)], 2.0);
    assert_eq!(rows, ["0 a_n=20002 a_sum=200010001"]);
}
