//! Checks that every reading ended where it had to: compares what was sent and acknowledged with the
//! changes of the lists, the contents of the store and the ledger.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use queue::ledger::{Counter, Ledger};

use crate::history::History;
use crate::message::{Cell, Kind, Message};
use crate::traffic::Sent;

/// How many invalid commits are reported.
const REPORTED_COMMITS: usize = 5;

/// The contents of the store: every value ever written to each cell.
pub type Stored = HashMap<Cell, Vec<f64>>;

/// The loss of readings outside of Rigline that a run allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AllowedLoss {
    /// No loss.
    #[default]
    None,
    /// The broker loses messages that it has acknowledged: it is killed, emptied or limited.
    Broker,
    /// The queue's server loses its data, and with it any reading up to then.
    Queue,
}

/// The conditions under which the oracle checks a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expectations {
    /// Readings that may be lost outside of Rigline.
    pub allowed_loss: AllowedLoss,
    /// Some readings are older than the late window.
    pub late_readings: bool,
    /// Every row has to be emitted in one piece.
    pub whole_rows: bool,
}

/// The results of a run that the oracle compares.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The messages sent.
    pub sent: &'a Sent,
    /// The changes of the lists.
    pub history: &'a History,
    /// The ledger of the idle pipeline.
    pub ledger: &'a Ledger,
    /// The contents of the store.
    pub stored: &'a Stored,
    /// Rows in the store that no message can have produced.
    pub unknown: &'a [String],
}

/// A problem with a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Acknowledged or appended, and not stored.
    Lost,
    /// In more rows than one.
    Doubled,
    /// Stored with another value than the one that came first.
    Wrong,
    /// Never sent, or a count that doesn't follow from the history.
    Unexplained,
}

/// The oracle's findings.
#[derive(Debug, Default)]
pub struct Findings {
    /// The cells with each problem.
    pub problems: BTreeMap<Problem, Vec<Cell>>,
    /// Problems that don't concern a single cell.
    pub notes: Vec<String>,
    /// Readings that were acknowledged.
    pub acknowledged: usize,
    /// Acknowledged readings that the broker has lost.
    pub lost_by_broker: usize,
    /// Acknowledged readings that were lost with the queue's data.
    pub lost_by_queue: usize,
    /// The index of the last message that was lost.
    pub last_lost: Option<usize>,
    /// The number of cells in the store.
    pub stored: usize,
}

impl Findings {
    /// Whether there is no problem.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.notes.is_empty()
    }

    /// How many cells have this problem.
    #[must_use]
    pub fn count(&self, problem: Problem) -> usize {
        self.problems.get(&problem).map_or(0, Vec::len)
    }

    fn add(&mut self, problem: Problem, cell: Cell) {
        self.problems.entry(problem).or_default().push(cell);
    }

    fn expect(&mut self, what: &str, found: i64, expected: usize) {
        if i64::try_from(expected) != Ok(found) {
            self.notes
                .push(format!("{what} is {found} and should be {expected}"));
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} cells stored; lost {}, doubled {}, wrong {}, unexplained {}",
            self.acknowledged,
            self.stored,
            self.count(Problem::Lost),
            self.count(Problem::Doubled),
            self.count(Problem::Wrong),
            self.count(Problem::Unexplained) + self.notes.len(),
        )?;
        for (who, count) in [
            ("the broker", self.lost_by_broker),
            ("the queue's server", self.lost_by_queue),
        ] {
            if count > 0 {
                write!(f, "; {count} lost by {who}")?;
            }
        }
        Ok(())
    }
}

/// Checks the evidence of a run.
#[must_use]
pub fn check(evidence: &Evidence<'_>, expectations: Expectations) -> Findings {
    let mut findings = Findings {
        stored: evidence.stored.len(),
        ..Findings::default()
    };
    check_messages(evidence, expectations, &mut findings);
    check_cells(evidence, expectations, &mut findings);
    check_store(evidence, expectations, &mut findings);
    check_ledger(evidence, expectations, &mut findings);
    findings
}

/// Every acknowledged reading has to have been appended.
fn check_messages(evidence: &Evidence<'_>, expectations: Expectations, findings: &mut Findings) {
    let Evidence {
        sent,
        history,
        stored,
        ..
    } = evidence;
    for (index, (message, acknowledged)) in sent.messages.iter().zip(&sent.acknowledged).enumerate()
    {
        if !acknowledged || message.kind == Kind::Garbled {
            continue;
        }
        findings.acknowledged += 1;
        let has = |values: Option<&Vec<f64>>| {
            values.is_some_and(|values| values.iter().any(|value| same(*value, message.value())))
        };
        let is_stored = stored.contains_key(&message.cell);
        if has(history.appended.get(&message.cell))
            && (is_stored || expectations.allowed_loss != AllowedLoss::Queue)
        {
            continue;
        }
        if expectations.allowed_loss == AllowedLoss::Queue && is_stored {
            continue;
        }
        findings.last_lost = Some(index);
        if expectations.allowed_loss == AllowedLoss::Queue {
            findings.lost_by_queue += 1;
        } else if expectations.allowed_loss == AllowedLoss::Broker {
            findings.lost_by_broker += 1;
        } else {
            findings.add(Problem::Lost, message.cell);
        }
    }
}

/// Every cell that was appended has to be in one row, and stored with its first value.
fn check_cells(evidence: &Evidence<'_>, expectations: Expectations, findings: &mut Findings) {
    let Evidence {
        sent,
        history,
        stored,
        ..
    } = evidence;
    let known: HashSet<Cell> = sent.messages.iter().map(|message| message.cell).collect();
    for (cell, values) in &history.appended {
        let own = [Kind::Reading, Kind::Contradiction].map(|kind| {
            let cell = *cell;
            Message { cell, kind }.value()
        });
        let were_sent = values
            .iter()
            .all(|value| own.iter().any(|own| same(*own, *value)));
        if !known.contains(cell) || !were_sent {
            findings.add(Problem::Unexplained, *cell);
        }
        let expected = values[0];
        match stored.get(cell) {
            None if expectations.allowed_loss == AllowedLoss::Queue => {}
            None => findings.add(Problem::Lost, *cell),
            Some(found) => {
                let is_right = |value: &f64| {
                    let any = || values.iter().any(|v| same(*v, *value));
                    same(*value, expected)
                        || ((expectations.late_readings
                            || expectations.allowed_loss == AllowedLoss::Queue)
                            && any())
                };
                if !found.iter().all(is_right) {
                    findings.add(Problem::Wrong, *cell);
                }
            }
        }
        let times = history.emitted.get(cell).map_or(0, Vec::len);
        if times > 1
            && !expectations.late_readings
            && expectations.allowed_loss != AllowedLoss::Queue
        {
            findings.add(Problem::Doubled, *cell);
        }
    }
    for (cell, values) in &history.emitted {
        let appended = history.appended.get(cell).map_or(&[][..], Vec::as_slice);
        let explained = |value: &f64| appended.iter().any(|known| same(*known, *value));
        if !values.iter().all(explained) && expectations.allowed_loss != AllowedLoss::Queue {
            findings.add(Problem::Unexplained, *cell);
        }
    }
}

/// Every stored cell has to have been emitted.
fn check_store(evidence: &Evidence<'_>, expectations: Expectations, findings: &mut Findings) {
    for cell in evidence.stored.keys() {
        let known = evidence.history.emitted.contains_key(cell);
        if !known && expectations.allowed_loss != AllowedLoss::Queue {
            findings.add(Problem::Unexplained, *cell);
        }
    }
    let unknown = evidence.unknown.iter().chain(&evidence.history.unknown);
    findings
        .notes
        .extend(unknown.map(|item| format!("never sent: {item}")));
}

/// Every count has to follow from the history.
fn check_ledger(evidence: &Evidence<'_>, expectations: Expectations, findings: &mut Findings) {
    let Evidence {
        sent,
        history,
        ledger,
        ..
    } = evidence;
    if let Some(line) = ledger.broken_line() {
        let (text, left, right) = (line.text, line.left, line.right);
        findings
            .notes
            .push(format!("{text} doesn't hold: {left} and {right}"));
    }
    if expectations.allowed_loss == AllowedLoss::Queue {
        return;
    }
    let invalid_commits = history
        .invalid_commits
        .iter()
        .take(REPORTED_COMMITS)
        .cloned();
    findings.notes.extend(invalid_commits);
    let count = |counter| ledger.get(counter);
    findings.expect("raw_foreign", ledger.raw_foreign(), 0);
    findings.expect("rows_foreign", ledger.rows_foreign(), 0);
    for (what, length) in [("raw", ledger.raw), ("normalized", ledger.normalized)] {
        findings.expect(what, length, 0);
    }
    findings.expect("open_readings", count(Counter::OpenReadings), 0);
    findings.expect("dead_transformer", count(Counter::DeadTransformer), 0);
    findings.expect("dead_sink", count(Counter::DeadSink), 0);
    findings.expect(
        "dead_ingester",
        count(Counter::DeadIngester),
        history.dead_letters,
    );
    let garbled = sent
        .messages
        .iter()
        .zip(&sent.acknowledged)
        .filter(|(message, acknowledged)| **acknowledged && message.kind == Kind::Garbled)
        .count();
    if history.dead_letters < garbled && expectations.allowed_loss != AllowedLoss::Broker {
        findings.notes.push(format!(
            "{garbled} garbled messages and only {} dead letters",
            history.dead_letters
        ));
    }
    let sum = |cells: &HashMap<Cell, Vec<f64>>| cells.values().map(Vec::len).sum::<usize>();
    findings.expect("accepted", count(Counter::Accepted), sum(&history.appended));
    findings.expect("in_rows", count(Counter::InRows), sum(&history.emitted));
    findings.expect("rows_out", count(Counter::RowsOut), history.rows);
    findings.expect("rows_stored", count(Counter::RowsStored), history.rows);
    check_repeats(evidence, expectations, findings);
}

/// The counts of repeated readings and of rows have to follow from the history.
fn check_repeats(evidence: &Evidence<'_>, expectations: Expectations, findings: &mut Findings) {
    let Evidence {
        history, ledger, ..
    } = evidence;
    let count = |counter| ledger.get(counter);
    if !expectations.late_readings {
        let again = |equal: bool| -> usize {
            let cells = history.appended.values();
            cells
                .map(|values| {
                    let later = values[1..].iter();
                    later.filter(|v| same(**v, values[0]) == equal).count()
                })
                .sum()
        };
        findings.expect("repeated", count(Counter::Repeated), again(true));
        findings.expect("superseded", count(Counter::Superseded), again(false));
        findings.expect("late", count(Counter::Late), 0);
    }
    if expectations.whole_rows {
        let rows: HashSet<_> = history
            .emitted
            .keys()
            .map(|cell| (cell.rig, cell.row))
            .collect();
        findings.expect(
            "rows_out (rows in one piece)",
            count(Counter::RowsOut),
            rows.len(),
        );
    }
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits()
}

#[cfg(test)]
mod tests;
