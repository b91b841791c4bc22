//! Noticing that the queue was flushed, emptied or exchanged under our hands.

use common::metric;
use metrics::counter;

use crate::changes::Snapshot;
use crate::ledger::{Counter, Ledger};

/// Remembers what the queue has told, and compares with it what it tells next.
#[derive(Debug, Default)]
pub struct Resets {
    last: Option<Snapshot>,
    /// What the counter `accepted` was after our last append: between two looks much is appended,
    /// so that a loss needn't show as a fall from one to the next.
    accepted: i64,
    /// A loss has been said that the next look will show, too.
    told: bool,
}

impl Resets {
    /// What our last append has reported. Ask before a look is sent, and hand it to
    /// [`check`](Self::check): what is appended while the look is under way may not be in it.
    #[must_use]
    pub const fn accepted(&self) -> i64 {
        self.accepted
    }

    /// Whether `look` shows another queue than the last one did, that less was accepted than was
    /// known before it was sent, or that elements have vanished; says so loudly and counts it.
    pub fn check(&mut self, snapshot: &Snapshot, accepted: i64) -> bool {
        if std::mem::take(&mut self.told) {
            self.last = Some(snapshot.clone());
            self.accepted = snapshot.ledger.get(Counter::Accepted);
            return false;
        }
        let what = self
            .last
            .as_ref()
            .and_then(|last| difference(last, snapshot));
        let what = what
            .or_else(|| fewer_accepted(accepted, snapshot.ledger.get(Counter::Accepted)))
            .or_else(|| vanished(self.last.as_ref(), snapshot));
        if let Some(what) = &what {
            self.say(what);
            self.accepted = snapshot.ledger.get(Counter::Accepted);
        }
        self.last = Some(snapshot.clone());
        what.is_some()
    }

    /// Our append of `count` readings has brought the counter `accepted` to this; whether some that
    /// were there before are missing.
    pub fn appended(&mut self, count: usize, accepted: i64) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let what = fewer_accepted(self.accepted, accepted.saturating_sub(count));
        if let Some(what) = &what {
            self.say(what);
            self.told = true;
        }
        self.accepted = accepted;
        what.is_some()
    }

    /// A list's commit number is lower than our own last commit left it.
    pub fn put_back(&mut self, expected: u64, found: u64) {
        self.told = true;
        self.say(&format!(
            "the commit number went back from {expected} to {found}"
        ));
    }

    fn say(&self, what: &str) {
        let none = Ledger::default();
        let last = self.last.as_ref().map_or(&none, |last| &last.ledger);
        counter!(metric::RESETS).increment(1);
        tracing::error!(
            what,
            last_accepted = last.get(Counter::Accepted).max(self.accepted),
            last_raw_taken = last.get(Counter::RawTaken),
            last_rows_out = last.get(Counter::RowsOut),
            last_rows_stored = last.get(Counter::RowsStored),
            last_raw_length = last.raw,
            last_normalized_length = last.normalized,
            "the queue was flushed, emptied, put back or exchanged; what it held is gone, going on"
        );
    }
}

fn fewer_accepted(before: i64, now: i64) -> Option<String> {
    (now < before).then(|| format!("counter accepted fell from {before} to {now}"))
}

fn difference(last: &Snapshot, snapshot: &Snapshot) -> Option<String> {
    if last.instance != snapshot.instance {
        return Some(format!(
            "instance {:?} became {:?}",
            last.instance, snapshot.instance
        ));
    }
    let fallen = Counter::ALL.into_iter().find(|counter| {
        // The one counter that is meant to go down, too.
        *counter != Counter::OpenReadings
            && snapshot.ledger.get(*counter) < last.ledger.get(*counter)
    })?;
    let (from, to) = (last.ledger.get(fallen), snapshot.ledger.get(fallen));
    Some(format!(
        "counter {} fell from {from} to {to}",
        fallen.name()
    ))
}

/// Elements that left a list without a commit, more of them than before.
fn vanished(last: Option<&Snapshot>, snapshot: &Snapshot) -> Option<String> {
    let foreign = |snapshot: &Snapshot| {
        [
            ("raw", snapshot.ledger.raw_foreign()),
            ("normalized", snapshot.ledger.rows_foreign()),
        ]
    };
    let before = last.map(foreign);
    foreign(snapshot)
        .into_iter()
        .enumerate()
        .find_map(|(place, (list, now))| {
            let before = before.map_or(0, |before| before[place].1.min(0));
            (now < before)
                .then(|| format!("{} elements vanished from the {list} list", before - now))
        })
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;

    use super::Resets;
    use crate::changes::Snapshot;
    use crate::ledger::{Counter, Ledger};

    fn snapshot(instance: &str, accepted: i64, open: i64) -> Snapshot {
        let mut ledger = Ledger::default();
        ledger.set(Counter::Accepted, accepted);
        ledger.raw = accepted;
        ledger.set(Counter::OpenReadings, open);
        Snapshot {
            instance: instance.into(),
            server_time: Timestamp::from_millis(0),
            ledger,
        }
    }

    #[test]
    fn another_instance_or_a_fallen_counter_is_a_reset() {
        let mut resets = Resets::default();
        assert!(
            !resets.check(&snapshot("a", 5, 9), 0),
            "the first look has nothing to compare with"
        );
        assert!(
            !resets.check(&snapshot("a", 7, 2), 0),
            "open readings may go down"
        );
        assert!(resets.check(&snapshot("a", 6, 2), 0));
        assert!(!resets.check(&snapshot("a", 6, 2), 0), "said once");
        assert!(resets.check(&snapshot("b", 6, 2), 0));
    }

    #[test]
    fn elements_that_vanish_are_a_reset_and_strangers_are_not() {
        let with_raw = |raw: i64| {
            let mut snapshot = snapshot("a", 5, 0);
            snapshot.ledger.raw = raw;
            snapshot
        };
        let mut resets = Resets::default();
        assert!(!resets.check(&with_raw(5), 0));
        assert!(!resets.check(&with_raw(7), 0), "somebody pushed two");
        assert!(!resets.check(&with_raw(5), 0), "and took them away again");
        assert!(resets.check(&with_raw(3), 0));
        assert!(!resets.check(&with_raw(3), 0), "said once");
        assert!(Resets::default().check(&with_raw(0), 0), "seen at a start");
    }

    #[test]
    fn a_loss_between_two_looks_shows_in_what_appends_report() {
        let mut resets = Resets::default();
        assert!(!resets.check(&snapshot("a", 5, 0), 0));
        assert!(!resets.appended(10, 15));
        assert!(!resets.appended(1, 20), "a lost answer, or another replica");
        assert!(
            !resets.check(&snapshot("a", 15, 0), 15),
            "the snapshot came first"
        );
        assert!(resets.check(&snapshot("a", 18, 0), resets.accepted()));
        assert!(!resets.appended(1, 19), "said once");
        assert!(resets.appended(4, 22), "there should be 23");
        assert!(!resets.appended(1, 23));
        assert!(!resets.check(&snapshot("b", 23, 0), 0), "said already");
        assert!(resets.check(&snapshot("c", 23, 0), 0));
        resets.put_back(7, 6);
        assert!(!resets.check(&snapshot("c", 20, 0), 0), "said already");
    }
}
