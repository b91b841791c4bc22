//! Noticing that the queue was flushed, emptied or exchanged under our hands.

use common::metric;
use metrics::counter;

use crate::changes::Look;
use crate::ledger::Counter;

/// Remembers the last look and compares the next one with it.
#[derive(Debug, Default)]
pub struct Resets {
    last: Option<Look>,
}

impl Resets {
    /// Whether `look` shows another queue than the last one did, or that elements have vanished;
    /// says so loudly and counts it.
    pub fn check(&mut self, look: &Look) -> bool {
        let what = self.last.as_ref().and_then(|last| difference(last, look));
        let what = what.or_else(|| vanished(self.last.as_ref(), look));
        if let Some(what) = &what {
            let last = &self.last.as_ref().unwrap_or(look).ledger;
            counter!(metric::RESETS).increment(1);
            tracing::error!(
                what,
                last_accepted = last.get(Counter::Accepted),
                last_raw_taken = last.get(Counter::RawTaken),
                last_rows_out = last.get(Counter::RowsOut),
                last_rows_stored = last.get(Counter::RowsStored),
                last_raw_length = last.raw,
                last_normalized_length = last.normalized,
                "the queue was flushed, emptied or exchanged; what it held is gone, going on"
            );
        }
        self.last = Some(look.clone());
        what.is_some()
    }
}

fn difference(last: &Look, look: &Look) -> Option<String> {
    if last.instance != look.instance {
        return Some(format!(
            "instance {:?} became {:?}",
            last.instance, look.instance
        ));
    }
    let fallen = Counter::ALL.into_iter().find(|counter| {
        // The one counter that is meant to go down, too.
        *counter != Counter::OpenReadings && look.ledger.get(*counter) < last.ledger.get(*counter)
    })?;
    let (from, to) = (last.ledger.get(fallen), look.ledger.get(fallen));
    Some(format!(
        "counter {} fell from {from} to {to}",
        fallen.name()
    ))
}

/// Elements that left a list without a commit, more of them than before.
fn vanished(last: Option<&Look>, look: &Look) -> Option<String> {
    let foreign = |look: &Look| {
        [
            ("raw", look.ledger.raw_foreign()),
            ("normalized", look.ledger.rows_foreign()),
        ]
    };
    let before = last.map(foreign);
    foreign(look)
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
    use common::time::Timestamp;

    use super::Resets;
    use crate::changes::Look;
    use crate::ledger::{Counter, Ledger};

    fn look(instance: &str, accepted: i64, open: i64) -> Look {
        let mut ledger = Ledger::default();
        ledger.set(Counter::Accepted, accepted);
        ledger.raw = accepted;
        ledger.set(Counter::OpenReadings, open);
        Look {
            instance: instance.into(),
            server_time: Timestamp::from_millis(0),
            ledger,
        }
    }

    #[test]
    fn another_instance_or_a_fallen_counter_is_a_reset() {
        let mut resets = Resets::default();
        assert!(
            !resets.check(&look("a", 5, 9)),
            "the first look has nothing to compare with"
        );
        assert!(!resets.check(&look("a", 7, 2)), "open readings may go down");
        assert!(resets.check(&look("a", 6, 2)));
        assert!(!resets.check(&look("a", 6, 2)), "said once");
        assert!(resets.check(&look("b", 6, 2)));
    }

    #[test]
    fn elements_that_vanish_are_a_reset_and_strangers_are_not() {
        let with_raw = |raw: i64| {
            let mut look = look("a", 5, 0);
            look.ledger.raw = raw;
            look
        };
        let mut resets = Resets::default();
        assert!(!resets.check(&with_raw(5)));
        assert!(!resets.check(&with_raw(7)), "somebody pushed two");
        assert!(!resets.check(&with_raw(5)), "and took them away again");
        assert!(resets.check(&with_raw(3)));
        assert!(!resets.check(&with_raw(3)), "said once");
        assert!(Resets::default().check(&with_raw(0)), "seen at a start");
    }
}
