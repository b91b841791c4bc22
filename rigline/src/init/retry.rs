//! Retries while `InfluxDB` is unavailable.

use std::time::{Duration, Instant};

use common::backoff::Backoff;
use store::SetupError;

use super::print_line;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Interval between two messages about the retries.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(5);

/// Repeats a step while the server is unavailable. Each try runs the whole step, because a request
/// without a response may or may not have been carried out. Returns other errors.
pub(super) async fn retry_until_done<T>(
    what: &str,
    mut step: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut printed: Option<Instant> = None;
    loop {
        let error = match step().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let is_unavailable = error
            .downcast_ref::<SetupError>()
            .is_some_and(SetupError::is_away);
        if !is_unavailable {
            return Err(error);
        }
        if printed.is_none_or(|printed| printed.elapsed() >= MESSAGE_INTERVAL) {
            print_line(format!("waiting for InfluxDB {what}: {error:#}"));
            printed = Some(Instant::now());
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}
