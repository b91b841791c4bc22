//! The oracle is shown one fault each, and has to see it.

use queue::ledger::{Counter, Ledger};

use super::{Evidence, Losing, Offence, Stored, Terms, Verdict, judge};
use crate::history::History;
use crate::message::{Cell, Kind, Message};
use crate::traffic::Sent;

const CELL: Cell = Cell {
    rig: 1,
    row: 2,
    sensor: 3,
};

/// What a reading of a cell says.
fn value(cell: Cell) -> f64 {
    let kind = Kind::Reading;
    Message { cell, kind }.value()
}

/// Makes one thing wrong.
type Spoil = fn(&mut Run);

/// A run of one reading, sent, acknowledged, appended, emitted and stored.
struct Run {
    sent: Sent,
    history: History,
    ledger: Ledger,
    stored: Stored,
    strange: Vec<String>,
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
            strange: Vec::new(),
        }
    }

    fn judge(&self, terms: Terms) -> Verdict {
        let Self {
            sent,
            history,
            ledger,
            stored,
            strange,
        } = self;
        let evidence = Evidence {
            sent,
            history,
            ledger,
            stored,
            strange,
        };
        judge(&evidence, terms)
    }
}

#[test]
fn a_clean_run_is_clean() {
    let verdict = Run::clean().judge(Terms::default());
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert_eq!((verdict.acknowledged, verdict.stored), (1, 1));
}

#[test]
fn each_offence_is_seen() {
    let spoil: [(&str, Offence, Spoil); 8] = [
        ("acknowledged, never appended", Offence::Lost, |run| {
            run.history.appended.clear();
        }),
        ("appended, not stored", Offence::Lost, |run| {
            run.stored.clear();
        }),
        ("in two rows", Offence::Doubled, |run| {
            run.history
                .emitted
                .entry(CELL)
                .or_default()
                .push(value(CELL));
        }),
        ("another value stored", Offence::Wrong, |run| {
            run.stored.insert(CELL, vec![7.0]);
        }),
        ("two values stored", Offence::Wrong, |run| {
            run.stored.entry(CELL).or_default().push(2.513);
        }),
        ("a value that nobody sent", Offence::Unexplained, |run| {
            run.history.appended.insert(CELL, vec![9.0]);
        }),
        ("a cell that nobody sent", Offence::Unexplained, |run| {
            run.history.appended.insert(
                Cell { row: 9, ..CELL },
                vec![value(Cell { row: 9, ..CELL })],
            );
        }),
        ("a stored cell from nowhere", Offence::Unexplained, |run| {
            run.stored.insert(
                Cell { row: 9, ..CELL },
                vec![value(Cell { row: 9, ..CELL })],
            );
        }),
    ];
    for (what, offence, spoil) in spoil {
        let mut run = Run::clean();
        spoil(&mut run);
        let verdict = run.judge(Terms::default());
        assert!(verdict.count(offence) > 0, "{what}: {verdict:#?}");
    }
}

#[test]
fn each_count_is_checked() {
    for counter in Counter::ALL {
        let mut run = Run::clean();
        run.ledger.set(counter, run.ledger.get(counter) + 1);
        let verdict = run.judge(Terms::default());
        assert!(
            !verdict.notes.is_empty(),
            "{}: {verdict:#?}",
            counter.name()
        );
    }
}

#[test]
fn what_others_may_lose_is_counted_and_not_blamed() {
    let mut run = Run::clean();
    (run.history, run.ledger) = (History::default(), Ledger::default());
    run.stored.clear();
    let broker = Terms {
        losing: Losing::Broker,
        ..Terms::default()
    };
    let verdict = run.judge(broker);
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert_eq!(verdict.lost_by_broker, 1);
    let queue = Terms {
        losing: Losing::Queue,
        ..Terms::default()
    };
    assert_eq!(run.judge(queue).lost_by_queue, 1);
}

#[test]
fn a_row_in_two_pieces_is_seen_where_rows_are_whole() {
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
    assert!(run.judge(Terms::default()).is_clean());
    let whole = Terms {
        whole_rows: true,
        ..Terms::default()
    };
    assert!(!run.judge(whole).is_clean());
}
