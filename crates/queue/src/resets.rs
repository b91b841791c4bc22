//! Detects that the queue was flushed, emptied, restored to an older state or replaced.

use common::metric;
use metrics::counter;

use crate::changes::Snapshot;
use crate::ledger::{Counter, Ledger, delta};

/// Compares each snapshot and append with the ones before.
#[derive(Debug, Default)]
pub struct ResetDetector {
    last: Option<Snapshot>,
    /// The counter `accepted` after our last append. Between two snapshots much is appended, so a loss
    /// may not show as a lower counter in the next snapshot.
    accepted: i64,
    /// A reset was reported that the next snapshot shows, too.
    reported: bool,
}

impl ResetDetector {
    /// The counter `accepted` after our last append. Read it before requesting a snapshot, and pass it to
    /// [`check`](Self::check): a snapshot may not contain concurrent appends.
    #[must_use]
    pub const fn accepted(&self) -> i64 {
        self.accepted
    }

    /// Checks whether `snapshot` is of another queue than the last one, has accepted fewer readings than
    /// known before its request, or lacks elements. If so, logs an ERROR, increments the metric and returns
    /// true.
    pub fn check(&mut self, snapshot: &Snapshot, accepted: i64) -> bool {
        if std::mem::take(&mut self.reported) {
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
            self.report(what);
            self.accepted = snapshot.ledger.get(Counter::Accepted);
        }
        self.last = Some(snapshot.clone());
        what.is_some()
    }

    /// Records that an append of `count` readings set the counter `accepted` to this value. Returns
    /// whether earlier readings are missing.
    pub fn appended(&mut self, count: usize, accepted: i64) -> bool {
        let what = fewer_accepted(self.accepted, accepted.saturating_sub(delta(count)));
        if let Some(what) = &what {
            self.report(what);
            self.reported = true;
        }
        self.accepted = accepted;
        what.is_some()
    }

    /// Records that a list's commit number is lower than after our last commit.
    pub fn went_back(&mut self, expected: u64, found: u64) {
        self.reported = true;
        self.report(&format!(
            "the commit number went back from {expected} to {found}"
        ));
    }

    fn report(&self, what: &str) {
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
            "the queue was flushed, emptied, restored to an older state or replaced; its lost \
             elements can't be recovered, continuing"
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
        // Only this counter may decrease.
        *counter != Counter::OpenReadings
            && snapshot.ledger.get(*counter) < last.ledger.get(*counter)
    })?;
    let (from, to) = (last.ledger.get(fallen), snapshot.ledger.get(fallen));
    Some(format!(
        "counter {} fell from {from} to {to}",
        fallen.name()
    ))
}

/// Describes elements that left a list without a commit since the last snapshot.
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

    use super::ResetDetector;
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
    fn other_instance_or_lower_counter_is_a_reset() {
        let mut resets = ResetDetector::default();
        assert!(
            !resets.check(&snapshot("a", 5, 9), 0),
            "the first snapshot has nothing to compare with"
        );
        assert!(
            !resets.check(&snapshot("a", 7, 2), 0),
            "open readings may go down"
        );
        assert!(resets.check(&snapshot("a", 6, 2), 0));
        assert!(!resets.check(&snapshot("a", 6, 2), 0), "reported once");
        assert!(resets.check(&snapshot("b", 6, 2), 0));
    }

    #[test]
    fn vanished_elements_are_a_reset_and_external_elements_are_not() {
        let with_raw = |raw: i64| {
            let mut snapshot = snapshot("a", 5, 0);
            snapshot.ledger.raw = raw;
            snapshot
        };
        let mut resets = ResetDetector::default();
        assert!(!resets.check(&with_raw(5), 0));
        assert!(!resets.check(&with_raw(7), 0), "two were pushed");
        assert!(!resets.check(&with_raw(5), 0), "and popped again");
        assert!(resets.check(&with_raw(3), 0));
        assert!(!resets.check(&with_raw(3), 0), "reported once");
        assert!(
            ResetDetector::default().check(&with_raw(0), 0),
            "at a start"
        );
    }

    #[test]
    fn loss_between_two_snapshots_shows_in_the_next_append() {
        let mut resets = ResetDetector::default();
        assert!(!resets.check(&snapshot("a", 5, 0), 0));
        assert!(!resets.appended(10, 15));
        assert!(!resets.appended(1, 20), "a lost reply, or another replica");
        assert!(
            !resets.check(&snapshot("a", 15, 0), 15),
            "the snapshot came first"
        );
        assert!(resets.check(&snapshot("a", 18, 0), resets.accepted()));
        assert!(!resets.appended(1, 19), "reported once");
        assert!(resets.appended(4, 22), "there should be 23");
        assert!(!resets.appended(1, 23));
        assert!(!resets.check(&snapshot("b", 23, 0), 0), "reported already");
        assert!(resets.check(&snapshot("c", 23, 0), 0));
        resets.went_back(7, 6);
        assert!(!resets.check(&snapshot("c", 20, 0), 0), "reported already");
    }
}
