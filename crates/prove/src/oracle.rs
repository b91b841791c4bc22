//! Whether every reading ended where it had to: what was sent and acknowledged, compared with what
//! came into the lists, what the store has, and what the ledger says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use queue::ledger::{Counter, Ledger};

use crate::history::History;
use crate::message::{Cell, Kind, Message};
use crate::traffic::Sent;

/// Notes of one kind that are kept.
const NOTES: usize = 5;

/// What the store has, by cell: every value ever written to it.
pub type Stored = HashMap<Cell, Vec<f64>>;

/// Who loses readings in a run that isn't Rigline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Losing {
    /// Nobody.
    #[default]
    Nobody,
    /// The broker was killed or emptied, or drops messages: it forgets what it has acknowledged.
    Broker,
    /// The queue's server lost what it had: whatever was in it, or came before.
    Queue,
}

/// What a run may do that is no fault of Rigline.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Who else loses readings.
    pub losing: Losing,
    /// Readings come that are older than the window.
    pub late: bool,
    /// Every row comes in one piece, so it has to be emitted in one.
    pub whole_rows: bool,
}

/// All that a run has left behind.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// What was sent.
    pub sent: &'a Sent,
    /// What came into the lists.
    pub history: &'a History,
    /// What the ledger says at rest.
    pub ledger: &'a Ledger,
    /// What the store has.
    pub stored: &'a Stored,
    /// Elements of the store that no message of ours can have made.
    pub strange: &'a [String],
}

/// What is wrong with a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// Acknowledged or appended, and not stored.
    Lost,
    /// In more rows than one.
    Doubled,
    /// Stored with another value than the one that came first.
    Wrong,
    /// Nobody sent it, or a count doesn't follow from what happened.
    Unexplained,
}

/// What the oracle says.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The cells of each offence; those that concern none are in `notes`.
    pub offences: BTreeMap<Offence, Vec<Cell>>,
    /// Offences that aren't about a reading.
    pub notes: Vec<String>,
    /// Readings acknowledged to whoever sent them.
    pub acknowledged: usize,
    /// Of those: never appended, with a broker that may lose.
    pub lost_by_broker: usize,
    /// Of those: gone with the queue's data.
    pub lost_by_queue: usize,
    /// The place of the last message that anybody lost.
    pub last_lost: Option<usize>,
    /// Cells in the store.
    pub stored: usize,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.offences.is_empty() && self.notes.is_empty()
    }

    /// How many cells have this wrong with them.
    #[must_use]
    pub fn count(&self, offence: Offence) -> usize {
        self.offences.get(&offence).map_or(0, Vec::len)
    }

    fn blame(&mut self, offence: Offence, cell: Cell) {
        self.offences.entry(offence).or_default().push(cell);
    }

    fn expect(&mut self, what: &str, found: i64, expected: usize) {
        if i64::try_from(expected) != Ok(found) {
            self.notes
                .push(format!("{what} is {found} and should be {expected}"));
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} cells stored; lost {}, doubled {}, wrong {}, unexplained {}",
            self.acknowledged,
            self.stored,
            self.count(Offence::Lost),
            self.count(Offence::Doubled),
            self.count(Offence::Wrong),
            self.count(Offence::Unexplained) + self.notes.len(),
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

/// Compares everything with everything.
#[must_use]
pub fn judge(evidence: &Evidence<'_>, terms: Terms) -> Verdict {
    let mut verdict = Verdict {
        stored: evidence.stored.len(),
        ..Verdict::default()
    };
    judge_messages(evidence, terms, &mut verdict);
    judge_cells(evidence, terms, &mut verdict);
    judge_store(evidence, terms, &mut verdict);
    judge_ledger(evidence, terms, &mut verdict);
    verdict
}

/// What was acknowledged has to have been appended.
fn judge_messages(evidence: &Evidence<'_>, terms: Terms, verdict: &mut Verdict) {
    let Evidence {
        sent,
        history,
        stored,
        ..
    } = evidence;
    for (place, (message, acknowledged)) in sent.messages.iter().zip(&sent.acknowledged).enumerate()
    {
        if !acknowledged || message.kind == Kind::Garbled {
            continue;
        }
        verdict.acknowledged += 1;
        let has = |values: Option<&Vec<f64>>| {
            values.is_some_and(|values| values.iter().any(|value| same(*value, message.value())))
        };
        let is_stored = stored.contains_key(&message.cell);
        if has(history.appended.get(&message.cell)) && (is_stored || terms.losing != Losing::Queue)
        {
            continue;
        }
        if terms.losing == Losing::Queue && is_stored {
            continue;
        }
        verdict.last_lost = Some(place);
        if terms.losing == Losing::Queue {
            verdict.lost_by_queue += 1;
        } else if terms.losing == Losing::Broker {
            verdict.lost_by_broker += 1;
        } else {
            verdict.blame(Offence::Lost, message.cell);
        }
    }
}

/// What was appended has to be in one row, with its first value, and stored.
fn judge_cells(evidence: &Evidence<'_>, terms: Terms, verdict: &mut Verdict) {
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
            verdict.blame(Offence::Unexplained, *cell);
        }
        let expected = values[0];
        match stored.get(cell) {
            None if terms.losing == Losing::Queue => {}
            None => verdict.blame(Offence::Lost, *cell),
            Some(found) => {
                let is_right = |value: &f64| {
                    let any = || values.iter().any(|v| same(*v, *value));
                    same(*value, expected)
                        || ((terms.late || terms.losing == Losing::Queue) && any())
                };
                if !found.iter().all(is_right) {
                    verdict.blame(Offence::Wrong, *cell);
                }
            }
        }
        let times = history.emitted.get(cell).map_or(0, Vec::len);
        if times > 1 && !terms.late && terms.losing != Losing::Queue {
            verdict.blame(Offence::Doubled, *cell);
        }
    }
    for (cell, values) in &history.emitted {
        let appended = history.appended.get(cell).map_or(&[][..], Vec::as_slice);
        let explained = |value: &f64| appended.iter().any(|known| same(*known, *value));
        if !values.iter().all(explained) && terms.losing != Losing::Queue {
            verdict.blame(Offence::Unexplained, *cell);
        }
    }
}

/// What is stored has to have been sent.
fn judge_store(evidence: &Evidence<'_>, terms: Terms, verdict: &mut Verdict) {
    for cell in evidence.stored.keys() {
        let known = evidence.history.emitted.contains_key(cell);
        if !known && terms.losing != Losing::Queue {
            verdict.blame(Offence::Unexplained, *cell);
        }
    }
    let strange = evidence.strange.iter().chain(&evidence.history.strange);
    verdict
        .notes
        .extend(strange.map(|item| format!("nobody sent {item}")));
}

/// Every count has to follow from the history.
fn judge_ledger(evidence: &Evidence<'_>, terms: Terms, verdict: &mut Verdict) {
    let Evidence {
        sent,
        history,
        ledger,
        ..
    } = evidence;
    if let Some(line) = ledger.broken_line() {
        let (text, left, right) = (line.text, line.left, line.right);
        verdict
            .notes
            .push(format!("{text} doesn't hold: {left} and {right}"));
    }
    if terms.losing == Losing::Queue {
        return;
    }
    let unlawful = history.unlawful.iter().take(NOTES).cloned();
    verdict.notes.extend(unlawful);
    let count = |counter| ledger.get(counter);
    verdict.expect("raw_foreign", ledger.raw_foreign(), 0);
    verdict.expect("rows_foreign", ledger.rows_foreign(), 0);
    for (what, length) in [("raw", ledger.raw), ("normalized", ledger.normalized)] {
        verdict.expect(what, length, 0);
    }
    verdict.expect("open_readings", count(Counter::OpenReadings), 0);
    verdict.expect("dead_transformer", count(Counter::DeadTransformer), 0);
    verdict.expect("dead_sink", count(Counter::DeadSink), 0);
    verdict.expect(
        "dead_ingester",
        count(Counter::DeadIngester),
        history.letters,
    );
    let garbled = sent
        .messages
        .iter()
        .zip(&sent.acknowledged)
        .filter(|(message, acknowledged)| **acknowledged && message.kind == Kind::Garbled)
        .count();
    if history.letters < garbled && terms.losing != Losing::Broker {
        verdict.notes.push(format!(
            "{garbled} garbled messages and only {} dead letters",
            history.letters
        ));
    }
    let sum = |cells: &HashMap<Cell, Vec<f64>>| cells.values().map(Vec::len).sum::<usize>();
    verdict.expect("accepted", count(Counter::Accepted), sum(&history.appended));
    verdict.expect("in_rows", count(Counter::InRows), sum(&history.emitted));
    verdict.expect("rows_out", count(Counter::RowsOut), history.rows);
    verdict.expect("rows_stored", count(Counter::RowsStored), history.rows);
    judge_repeats(evidence, terms, verdict);
}

/// What came again, and rows in pieces.
fn judge_repeats(evidence: &Evidence<'_>, terms: Terms, verdict: &mut Verdict) {
    let Evidence {
        history, ledger, ..
    } = evidence;
    let count = |counter| ledger.get(counter);
    if !terms.late {
        let again = |equal: bool| -> usize {
            let cells = history.appended.values();
            cells
                .map(|values| {
                    let later = values[1..].iter();
                    later.filter(|v| same(**v, values[0]) == equal).count()
                })
                .sum()
        };
        verdict.expect("repeated", count(Counter::Repeated), again(true));
        verdict.expect("superseded", count(Counter::Superseded), again(false));
        verdict.expect("late", count(Counter::Late), 0);
    }
    if terms.whole_rows {
        let rows: HashSet<_> = history
            .emitted
            .keys()
            .map(|cell| (cell.rig, cell.row))
            .collect();
        verdict.expect(
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
