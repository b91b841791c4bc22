//! For tests of whatever works on a queue: one in a file of its own, the hands of strangers in it,
//! answers that get lost, a stage that runs on it, and a simulation of the commit protocol. Only
//! with the feature `testing`.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it, and a test that can't be set up has to fail"
)]

pub mod audit;
mod lossy;
mod memory;
mod running;
pub mod simulation;
mod temp;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use lossy::{Fate, Lossy};
pub use memory::{Memory, MemoryQueue};
pub use running::Running;
pub use temp::TempQueue;

use crate::ledger::Ledger;
use crate::settings::{QueueLimits, QueueSettings};

/// How long to wait for what has to happen: never reached but by a fault.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked for.
const POLL: Duration = Duration::from_millis(10);

/// The settings as they are by default.
#[must_use]
pub fn settings() -> QueueSettings {
    QueueSettings::with_default_names(QueueLimits {
        batch: 5_000,
        queue_limit: 1_000_000,
        dead_letter_limit: 100_000,
        dead_letter_bytes: 1 << 28,
    })
}

/// As [`settings`], with other limits.
#[must_use]
pub fn limited(change: impl FnOnce(&mut QueueLimits)) -> QueueSettings {
    let mut settings = settings();
    change(&mut settings.limits);
    settings
}

/// The five lines hold.
pub fn assert_holds(ledger: &Ledger) {
    assert_eq!(ledger.broken_line(), None, "{ledger:#?}");
}

/// The five lines hold, and nobody else has pushed anything.
pub fn assert_exact(ledger: &Ledger) {
    assert_holds(ledger);
    let foreign = (ledger.raw_foreign(), ledger.rows_foreign());
    assert_eq!(foreign, (0, 0), "{ledger:#?}");
}

/// Waits until it `is_true`; panics, naming `what`, if that takes much too long.
pub async fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(
            started.elapsed() < PATIENCE,
            "{what}: not after {PATIENCE:?}"
        );
        sleep(POLL).await;
    }
}

fn nonce() -> String {
    format!("{:016x}", fastrand::u64(..))
}
