//! Helpers for tests of the stages and the queues: queues in a temporary file and in memory, a queue
//! with faults, a stage in the test's process, and a simulation of the commit protocol. Only with the
//! feature `testing`.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it, and a test whose setup fails has to fail"
)]

pub mod audit;
mod faulty;
mod memory;
mod running;
pub mod simulation;
mod temp;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use faulty::{Delivery, FaultyQueue};
// The names of these types in the contract suite.
pub use faulty::{Delivery as Fate, FaultyQueue as Lossy};
pub use memory::MemoryQueue;
use memory::SavedStore;
pub use running::Running;
pub use temp::TempQueue;

use crate::ledger::Ledger;
use crate::settings::{QueueLimits, QueueSettings, RedisSettings};

/// How long a test waits for a condition before it fails.
const WAIT_LIMIT: Duration = Duration::from_mins(1);
/// How often the condition is checked.
const POLL: Duration = Duration::from_millis(10);

/// The default settings.
#[must_use]
pub fn settings() -> QueueSettings {
    QueueSettings::with_default_names(QueueLimits {
        batch: 5_000,
        queue_limit: 1_000_000,
        dead_letter_limit: 100_000,
        dead_letter_bytes: 1 << 28,
    })
}

/// Settings for a Redis without a login on this port of 127.0.0.1.
#[must_use]
pub fn redis_settings(port: u16) -> RedisSettings {
    RedisSettings {
        redis_host: "127.0.0.1".into(),
        redis_port: port,
        ..RedisSettings::local()
    }
}

/// The default settings with other limits.
#[must_use]
pub fn limited(change: impl FnOnce(&mut QueueLimits)) -> QueueSettings {
    let mut settings = settings();
    change(&mut settings.limits);
    settings
}

/// Asserts that the ledger's five equations hold.
pub fn assert_holds(ledger: &Ledger) {
    assert_eq!(ledger.broken_line(), None, "{ledger:#?}");
}

/// Asserts that the ledger's five equations hold, and that no external producer has pushed elements.
pub fn assert_exact(ledger: &Ledger) {
    assert_holds(ledger);
    let foreign = (ledger.raw_foreign(), ledger.rows_foreign());
    assert_eq!(foreign, (0, 0), "{ledger:#?}");
}

/// Waits until `is_true` returns true. Panics with `what` after a minute.
pub async fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(
            started.elapsed() < WAIT_LIMIT,
            "{what}: not after {WAIT_LIMIT:?}"
        );
        sleep(POLL).await;
    }
}

fn nonce() -> String {
    format!("{:016x}", fastrand::u64(..))
}
