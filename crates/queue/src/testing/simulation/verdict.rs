//! What must be true when all is drained.

use std::collections::BTreeMap;

use super::toy::{POISON, Toy};
use super::world::{STAGE, World, element};
use crate::ledger::Counter;
use crate::list::List;

/// The first thing that isn't as it has to be.
pub(super) fn violated(world: &World) -> Option<String> {
    elements(world)
        .err()
        .or_else(|| ledger(world).err())
        .or_else(|| numbers(world).err())
        .or_else(|| {
            let unlawful = world.server.unlawful();
            (unlawful > 0).then(|| format!("{unlawful} commits by who didn't hold the lease"))
        })
}

/// Every element is in one row or waits in the state, in order, or is a dead letter.
fn elements(world: &World) -> Result<(), String> {
    let mut found: BTreeMap<u8, (u8, u8)> = BTreeMap::new();
    for row in world.server.items(List::Normalized) {
        let [key, number, elements @ ..] = &row[..] else {
            return Err(format!("a row {row:?}"));
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
                return Err(format!("{what}, whose next was {next}"));
            }
            *next += 1;
        }
    }
    let state = Toy::load(&world.server.state_of(STAGE));
    for (key, slot) in &state.slots {
        let (rows, next) = found.entry(*key).or_default();
        if slot.rows != *rows {
            let known = slot.rows;
            return Err(format!("state knows {known} rows of key {key}, not {rows}"));
        }
        match slot.open {
            None => {}
            Some(open) if open == *next => *next += 1,
            Some(open) => {
                return Err(format!("element {open} of key {key} is open, not {next}"));
            }
        }
    }
    let size = world.size;
    let all: Vec<_> = (0..size.elements).map(|at| element(size, at)).collect();
    for (key, (_, next)) in &found {
        let count = all.iter().filter(|element| element[0] == *key).count();
        if count != usize::from(*next) {
            return Err(format!("{next} of {count} elements of key {key} came out"));
        }
    }
    let is_poison = |element: &&Vec<u8>| element[0] == POISON;
    let poison: Vec<_> = all.iter().filter(is_poison).cloned().collect();
    let known = |element: &&Vec<u8>| is_poison(element) || found.contains_key(&element[0]);
    let dead = world.server.items(List::Dead);
    if dead != poison {
        return Err(format!("dead letters are {dead:?}, not {poison:?}"));
    }
    match all.iter().find(|element| !known(element)) {
        Some(lost) => Err(format!("element {lost:?} came out nowhere")),
        None => Ok(()),
    }
}

fn ledger(world: &World) -> Result<(), String> {
    let ledger = world.server.snapshot_now().ledger;
    if let Some(line) = ledger.broken_line() {
        return Err(format!("{}: {} and {}", line.text, line.left, line.right));
    }
    let foreign = (ledger.raw_foreign(), ledger.rows_foreign());
    if foreign != (0, 0) {
        return Err(format!("foreign elements: {foreign:?}"));
    }
    let state = Toy::load(&world.server.state_of(STAGE));
    let open = state.slots.values().filter(|slot| slot.open.is_some());
    let counted = ledger.get(Counter::OpenReadings);
    if i64::try_from(open.count()) != Ok(counted) {
        return Err(format!("the ledger counts {counted} open elements"));
    }
    Ok(())
}

fn numbers(world: &World) -> Result<(), String> {
    let (number, standing) = (world.server.progress_now(STAGE).number, world.standing());
    if number == standing {
        Ok(())
    } else {
        Err(format!("number {number} after {standing} commits"))
    }
}
