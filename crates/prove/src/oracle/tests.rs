//! The oracle has to find each problem by itself.

use queue::ledger::{Counter, Ledger};

use super::{AllowedLoss, Evidence, Expectations, Findings, Problem, Stored, check};
use crate::history::History;
use crate::message::{Cell, Kind, Message};
use crate::traffic::Sent;

const CELL: Cell = Cell {
    rig: 1,
    row: 2,
    sensor: 3,
};

/// The value of a cell's reading.
fn value(cell: Cell) -> f64 {
    let kind = Kind::Reading;
    Message { cell, kind }.value()
}

/// Adds one problem to a run.
type Corrupt = fn(&mut Run);

/// A run of one reading, sent, acknowledged, appended, emitted and stored.
struct Run {
    sent: Sent,
    history: History,
    ledger: Ledger,
    stored: Stored,
    unknown: Vec<String>,
}

impl Run {
    fn clean() -> Self {
        let message = Message {
            cell: CELL,
            kind: Kind::Reading,
        };
        let value = message.value();
        let mut history = History {
            rows: 1,
            ..History::default()
        };
        history.appended.insert(CELL, vec![value]);
        history.emitted.insert(CELL, vec![value]);
        let mut ledger = Ledger::default();
        for counter in [
            Counter::Accepted,
            Counter::RawTaken,
            Counter::Samples,
            Counter::Readings,
            Counter::InRows,
            Counter::RowsOut,
            Counter::RowsTaken,
            Counter::RowsStored,
        ] {
            ledger.set(counter, 1);
        }
        Self {
            sent: Sent {
                messages: vec![message],
                acknowledged: vec![true],
            },
            history,
            ledger,
            stored: Stored::from([(CELL, vec![value])]),
            unknown: Vec::new(),
        }
    }

    fn check(&self, expectations: Expectations) -> Findings {
        let Self {
            sent,
            history,
            ledger,
            stored,
            unknown,
        } = self;
        let evidence = Evidence {
            sent,
            history,
            ledger,
            stored,
            unknown,
        };
        check(&evidence, expectations)
    }
}

#[test]
fn run_without_problems_is_clean() {
    let findings = Run::clean().check(Expectations::default());
    assert!(findings.is_clean(), "{findings:#?}");
    assert_eq!((findings.acknowledged, findings.stored), (1, 1));
}

#[test]
fn each_problem_is_found() {
    let corrupt: [(&str, Problem, Corrupt); 8] = [
        ("acknowledged, never appended", Problem::Lost, |run| {
            run.history.appended.clear();
        }),
        ("appended, not stored", Problem::Lost, |run| {
            run.stored.clear();
        }),
        ("in two rows", Problem::Doubled, |run| {
            run.history
                .emitted
                .entry(CELL)
                .or_default()
                .push(value(CELL));
        }),
        ("another value stored", Problem::Wrong, |run| {
            run.stored.insert(CELL, vec![7.0]);
        }),
        ("two values stored", Problem::Wrong, |run| {
            run.stored.entry(CELL).or_default().push(2.513);
        }),
        ("a value that was never sent", Problem::Unexplained, |run| {
            run.history.appended.insert(CELL, vec![9.0]);
        }),
        ("a cell that was never sent", Problem::Unexplained, |run| {
            run.history.appended.insert(
                Cell { row: 9, ..CELL },
                vec![value(Cell { row: 9, ..CELL })],
            );
        }),
        (
            "a stored cell that was never emitted",
            Problem::Unexplained,
            |run| {
                run.stored.insert(
                    Cell { row: 9, ..CELL },
                    vec![value(Cell { row: 9, ..CELL })],
                );
            },
        ),
    ];
    for (what, problem, corrupt) in corrupt {
        let mut run = Run::clean();
        corrupt(&mut run);
        let findings = run.check(Expectations::default());
        assert!(findings.count(problem) > 0, "{what}: {findings:#?}");
    }
}

#[test]
fn each_counter_is_checked() {
    for counter in Counter::ALL {
        let mut run = Run::clean();
        run.ledger.set(counter, run.ledger.get(counter) + 1);
        let findings = run.check(Expectations::default());
        assert!(
            !findings.notes.is_empty(),
            "{}: {findings:#?}",
            counter.name()
        );
    }
}

#[test]
fn allowed_losses_are_counted_and_no_problem() {
    let mut run = Run::clean();
    (run.history, run.ledger) = (History::default(), Ledger::default());
    run.stored.clear();
    let broker = Expectations {
        allowed_loss: AllowedLoss::Broker,
        ..Expectations::default()
    };
    let findings = run.check(broker);
    assert!(findings.is_clean(), "{findings:#?}");
    assert_eq!(findings.lost_by_broker, 1);
    let queue = Expectations {
        allowed_loss: AllowedLoss::Queue,
        ..Expectations::default()
    };
    assert_eq!(run.check(queue).lost_by_queue, 1);
}

#[test]
fn row_in_two_pieces_is_found_if_rows_have_to_be_whole() {
    let mut run = Run::clean();
    let second = Cell {
        sensor: CELL.sensor + 1,
        ..CELL
    };
    let value = value(second);
    run.sent.messages.push(Message {
        cell: second,
        kind: Kind::Reading,
    });
    run.sent.acknowledged.push(true);
    run.history.appended.insert(second, vec![value]);
    run.history.emitted.insert(second, vec![value]);
    run.stored.insert(second, vec![value]);
    run.history.rows = 2;
    for counter in Counter::ALL {
        run.ledger.set(counter, 2 * run.ledger.get(counter));
    }
    assert!(run.check(Expectations::default()).is_clean());
    let whole = Expectations {
        whole_rows: true,
        ..Expectations::default()
    };
    assert!(!run.check(whole).is_clean());
}
