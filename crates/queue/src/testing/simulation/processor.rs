//! A small transformer with state: it pairs the elements of each key.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use crate::rejected::Rejected;
use model::dead_letter::Reason;

use super::client::Client;
use super::run::{Pending, Run};
use crate::State;
use crate::consume::{Batch, Changes, Decision, Processor};
use crate::ledger::Counter;

/// The key of invalid elements.
pub(super) const POISON: u8 = 0xff;
/// The kinds of entries in the state: the open element, and the number of rows.
const OPEN: u8 = b'o';
const ROWS: u8 = b'r';
/// How long to wait when there is nothing to do.
const IDLE_POLL: Duration = Duration::from_millis(100);

/// The state of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// The first element of a pair whose second one is missing.
    pub(super) open: Option<u8>,
    /// The number of rows so far.
    pub(super) rows: u8,
}

/// The state of all keys.
pub(super) fn slots(state: &State) -> BTreeMap<u8, Slot> {
    let mut slots: BTreeMap<u8, Slot> = BTreeMap::new();
    for (key, value) in state {
        let (&[kind, key], &[value]) = (&key[..], &value[..]) else {
            continue;
        };
        let slot = slots.entry(key).or_default();
        match kind {
            OPEN => slot.open = Some(value),
            _ => slot.rows = value,
        }
    }
    slots
}

/// Emits a row for every two elements of a key.
pub(super) struct PairingProcessor {
    pub(super) client: Client,
    slots: BTreeMap<u8, Slot>,
}

impl PairingProcessor {
    pub(super) const fn new(client: Client) -> Self {
        Self {
            client,
            slots: BTreeMap::new(),
        }
    }

    /// Takes all elements. If there are none and open ones expire, emits these as rows.
    fn changes(&mut self, items: &[Vec<u8>]) -> Changes {
        let mut changes = Changes::default();
        let before = self.slots.clone();
        for item in items {
            match item[..] {
                [key, number] if key != POISON => {
                    let slot = self.slots.entry(key).or_default();
                    slot.take(key, number, &mut changes);
                }
                _ => changes.dead.push(Rejected {
                    reason: Reason::BadElement,
                    element: Some(item.clone()),
                }),
            }
        }
        if items.is_empty() && self.client.run.size.expires {
            for (key, slot) in &mut self.slots {
                slot.expire(*key, &mut changes);
            }
        }
        for (key, slot) in &self.slots {
            let old = before.get(key).copied().unwrap_or_default();
            match (old.open, slot.open) {
                (old, new) if old == new => {}
                (_, Some(open)) => changes.puts.push((vec![OPEN, *key], vec![open])),
                (_, None) => changes.deletes.push(vec![OPEN, *key]),
            }
            if old.rows != slot.rows {
                changes.puts.push((vec![ROWS, *key], vec![slot.rows]));
            }
        }
        changes
    }
}

impl Slot {
    fn take(&mut self, key: u8, number: u8, changes: &mut Changes) {
        let taken = [Counter::Samples, Counter::Readings];
        changes.counts.extend(taken.map(|counter| (counter, 1)));
        if let Some(open) = self.open.take() {
            changes.outputs.push(vec![key, self.rows, open, number]);
            self.rows += 1;
            changes.counts.push((Counter::InRows, 2));
            changes.counts.push((Counter::OpenReadings, -1));
        } else {
            self.open = Some(number);
            changes.counts.push((Counter::OpenReadings, 1));
        }
    }

    fn expire(&mut self, key: u8, changes: &mut Changes) {
        if let Some(open) = self.open.take() {
            changes.outputs.push(vec![key, self.rows, open]);
            self.rows += 1;
            changes.counts.push((Counter::InRows, 1));
            changes.counts.push((Counter::OpenReadings, -1));
        }
    }
}

impl Processor for PairingProcessor {
    /// The number of the commit. The run doesn't end before the commit is settled.
    type Summary = (u64, Pending);
    type Error = Infallible;

    fn load(&mut self, state: State) -> Result<(), Infallible> {
        self.slots = slots(&state);
        Ok(())
    }

    fn reads_ahead(&self) -> bool {
        self.client.run.size.reads_ahead
    }

    async fn process(&mut self, batch: &Batch) -> Result<Decision<Self::Summary>, Infallible> {
        let changes = self.changes(&batch.peek.items);
        if batch.peek.items.is_empty() && changes.outputs.is_empty() {
            return Ok(Decision::Wait(IDLE_POLL));
        }
        let pending = Run::pending(&self.client.run);
        Ok(Decision::Commit(changes, (batch.peek.number, pending)))
    }

    fn committed(&mut self, (number, _pending): Self::Summary) {
        self.client.check_applied(number);
    }
}
