//! What readers of rows have to know besides: readings that were omitted, and those that wait.

use common::clock::Clock;
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::settings::{QueueLimits, QueueSettings};
use queue::sqlite::SqliteQueue;

use super::ledger::account;
use super::output::grouped;
use super::stored::Stored;
use crate::called::up_command;
use crate::up::{QUEUE_FILE, is_held};

/// The lines to print after rows or rigs of a data directory. None without readable lists: rows are
/// useful without.
pub(super) async fn notes(stored: &Stored) -> Vec<String> {
    let Some(dir) = stored.dir() else {
        return Vec::new();
    };
    // Limits of writes, which don't matter here.
    let settings = QueueSettings::with_default_names(QueueLimits {
        batch: 1,
        queue_limit: 1,
        dead_letter_limit: 1,
        dead_letter_bytes: 1,
    });
    let path = stored.files().join(QUEUE_FILE);
    let Ok(queue) = SqliteQueue::open_read_only(&path, &settings, Clock::system()) else {
        return Vec::new();
    };
    let Ok(snapshot) = queue.snapshot().await else {
        return Vec::new();
    };
    let waits = waiting(&snapshot.ledger).filter(|_| !is_held(dir));
    let waits = waits.map(|waits| format!("not running: {waits} wait for `{}`", up_command(dir)));
    account(&snapshot.ledger).into_iter().chain(waits).collect()
}

/// What isn't stored yet, if anything.
fn waiting(ledger: &Ledger) -> Option<String> {
    let open = ledger.get(Counter::OpenReadings);
    let counts = [
        (open, "readings in open rows"),
        (ledger.raw, "readings in the raw list"),
        (ledger.normalized, "rows"),
    ];
    let parts: Vec<_> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(count)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use queue::ledger::{Counter, Ledger};

    use super::waiting;

    #[test]
    fn everything_that_waits_is_named() {
        let mut ledger = Ledger::default();
        assert_eq!(waiting(&ledger), None);
        ledger.set(Counter::OpenReadings, 1_200);
        ledger.normalized = 3;
        assert_eq!(
            waiting(&ledger).as_deref(),
            Some("1,200 readings in open rows, 3 rows")
        );
        ledger.raw = 1;
        assert_eq!(
            waiting(&ledger).as_deref(),
            Some("1,200 readings in open rows, 1 readings in the raw list, 3 rows")
        );
    }
}
