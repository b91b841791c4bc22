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
    /// Whether `look` shows another queue than the last one did; says so loudly and counts it.
    pub fn check(&mut self, look: &Look) -> bool {
        let what = self.last.as_ref().and_then(|last| difference(last, look));
        if let (Some(what), Some(last)) = (&what, &self.last) {
            counter!(metric::RESETS).increment(1);
            tracing::error!(
                what,
                last_accepted = last.ledger.get(Counter::Accepted),
                last_raw_taken = last.ledger.get(Counter::RawTaken),
                last_rows_out = last.ledger.get(Counter::RowsOut),
                last_rows_stored = last.ledger.get(Counter::RowsStored),
                last_raw_length = last.ledger.raw,
                last_normalized_length = last.ledger.normalized,
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

#[cfg(test)]
mod tests {
    use common::time::Timestamp;

    use super::Resets;
    use crate::changes::Look;
    use crate::ledger::{Counter, Ledger};

    fn look(instance: &str, accepted: i64, open: i64) -> Look {
        let mut ledger = Ledger::default();
        ledger.set(Counter::Accepted, accepted);
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
}
