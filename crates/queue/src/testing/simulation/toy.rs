//! A small transformer that has to remember: it pairs the elements of each key.

use std::collections::BTreeMap;

use crate::ledger::Counter;
use crate::{Commit, Peek, State};

/// The key of elements that are no readings.
pub(super) const POISON: u8 = 0xff;
/// The kinds of entries in the state: the element that waits for its second, and rows so far.
const OPEN: u8 = b'o';
const ROWS: u8 = b'r';

/// What is known of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// The element that waits for its second.
    pub(super) open: Option<u8>,
    /// Rows that were emitted.
    pub(super) rows: u8,
}

/// What a replica has in memory: the state as of its last commit.
#[derive(Debug, Default)]
pub(super) struct Toy {
    pub(super) slots: BTreeMap<u8, Slot>,
}

impl Toy {
    pub(super) fn load(state: &State) -> Self {
        let mut toy = Self::default();
        for (key, value) in state {
            let (&[kind, key], &[value]) = (&key[..], &value[..]) else {
                continue;
            };
            let slot = toy.slots.entry(key).or_default();
            match kind {
                OPEN => slot.open = Some(value),
                _ => slot.rows = value,
            }
        }
        toy
    }

    /// Takes all that was peeked at; gives up what is open if there was nothing and it `expires`.
    pub(super) fn step(&mut self, peek: &Peek, expires: bool) -> Commit {
        let mut commit = Commit {
            number: peek.number,
            take: peek.items.len(),
            last_taken: peek.items.last().cloned(),
            ..Commit::default()
        };
        let before: Vec<_> = self.slots.iter().map(|(key, slot)| (*key, *slot)).collect();
        for item in &peek.items {
            match item[..] {
                [key, number] if key != POISON => self.take(key, number, &mut commit),
                _ => commit.dead.push(item.clone()),
            }
        }
        if peek.items.is_empty() && expires {
            for (key, slot) in &mut self.slots {
                slot.expire(*key, &mut commit);
            }
        }
        self.write(&before, &mut commit);
        commit
    }

    fn take(&mut self, key: u8, number: u8, commit: &mut Commit) {
        let slot = self.slots.entry(key).or_default();
        if let Some(open) = slot.open.take() {
            commit.outputs.push(vec![key, slot.rows, open, number]);
            slot.rows += 1;
            commit.counts.push((Counter::InRows, 2));
            commit.counts.push((Counter::OpenReadings, -1));
        } else {
            slot.open = Some(number);
            commit.counts.push((Counter::OpenReadings, 1));
        }
    }

    fn write(&self, before: &[(u8, Slot)], commit: &mut Commit) {
        for (key, slot) in &self.slots {
            let known = before.iter().find(|(known, _)| known == key);
            let was = known.map_or_else(Slot::default, |(_, was)| *was);
            match (was.open, slot.open) {
                (was, now) if was == now => {}
                (_, Some(open)) => commit.puts.push((vec![OPEN, *key], vec![open])),
                (_, None) => commit.deletes.push(vec![OPEN, *key]),
            }
            if was.rows != slot.rows {
                commit.puts.push((vec![ROWS, *key], vec![slot.rows]));
            }
        }
    }
}

impl Slot {
    fn expire(&mut self, key: u8, commit: &mut Commit) {
        if let Some(open) = self.open.take() {
            commit.outputs.push(vec![key, self.rows, open]);
            self.rows += 1;
            commit.counts.push((Counter::InRows, 1));
            commit.counts.push((Counter::OpenReadings, -1));
        }
    }
}
