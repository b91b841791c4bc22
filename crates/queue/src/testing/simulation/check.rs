//! The checks of a run whose list is drained.

use std::collections::BTreeMap;

use super::processor::{POISON, slots};
use super::run::{Run, STAGE, element};
use crate::ledger::Counter;
use crate::list::List;

/// The first violation, if any.
pub(super) fn violation(run: &Run) -> Option<String> {
    elements(run)
        .err()
        .or_else(|| ledger(run).err())
        .or_else(|| number(run).err())
        .or_else(|| {
            let count = run.server.commits_without_lease();
            (count > 0).then(|| format!("{count} commits without the lease"))
        })
}

/// Checks that every element is, in order, in one row or open in the state, or is a dead letter.
fn elements(run: &Run) -> Result<(), String> {
    let mut found: BTreeMap<u8, (u8, u8)> = BTreeMap::new();
    for row in run.server.items(List::Normalized) {
        let [key, number, elements @ ..] = &row[..] else {
            return Err(format!("malformed row {row:?}"));
        };
        let (rows, next) = found.entry(*key).or_default();
        if number != rows {
            return Err(format!(
                "row {row:?} of key {key} instead of its row {rows}"
            ));
        }
        *rows += 1;
        for element in elements {
            if element != next {
                let what = format!("row {row:?} has element {element} of key {key}");
                return Err(format!("{what} instead of {next}"));
            }
            *next += 1;
        }
    }
    for (key, slot) in &slots(&run.server.state_of(STAGE)) {
        let (rows, next) = found.entry(*key).or_default();
        if slot.rows != *rows {
            let counted = slot.rows;
            return Err(format!(
                "the state counts {counted} rows of key {key}, not {rows}"
            ));
        }
        match slot.open {
            None => {}
            Some(open) if open == *next => *next += 1,
            Some(open) => {
                return Err(format!("element {open} of key {key} is open, not {next}"));
            }
        }
    }
    let size = run.size;
    let all: Vec<_> = (0..size.elements)
        .map(|index| element(size, index))
        .collect();
    for (key, (_, next)) in &found {
        let count = all.iter().filter(|element| element[0] == *key).count();
        if count != usize::from(*next) {
            return Err(format!(
                "{next} of {count} elements of key {key} were output"
            ));
        }
    }
    let is_poison = |element: &&Vec<u8>| element[0] == POISON;
    let poison: Vec<_> = all.iter().filter(is_poison).cloned().collect();
    let is_found = |element: &&Vec<u8>| is_poison(element) || found.contains_key(&element[0]);
    let dead = run.server.items(List::Dead);
    if dead != poison {
        return Err(format!("dead letters are {dead:?}, not {poison:?}"));
    }
    match all.iter().find(|element| !is_found(element)) {
        Some(lost) => Err(format!("element {lost:?} is lost")),
        None => Ok(()),
    }
}

fn ledger(run: &Run) -> Result<(), String> {
    let ledger = run.server.snapshot_now().ledger;
    if let Some(line) = ledger.broken_line() {
        return Err(format!("{}: {} and {}", line.text, line.left, line.right));
    }
    let foreign = (ledger.raw_foreign(), ledger.rows_foreign());
    if foreign != (0, 0) {
        return Err(format!("foreign elements: {foreign:?}"));
    }
    let slots = slots(&run.server.state_of(STAGE));
    let open = slots.values().filter(|slot| slot.open.is_some());
    let counted = ledger.get(Counter::OpenReadings);
    if i64::try_from(open.count()) != Ok(counted) {
        return Err(format!("the ledger counts {counted} open elements"));
    }
    Ok(())
}

fn number(run: &Run) -> Result<(), String> {
    let (number, commits) = (run.server.progress_now(STAGE).number, run.kept_commits());
    if number == commits {
        Ok(())
    } else {
        Err(format!("number {number} after {commits} commits"))
    }
}
