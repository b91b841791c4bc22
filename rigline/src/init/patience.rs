//! Trying again while `InfluxDB` is away.

use std::time::{Duration, Instant};

use common::backoff::Backoff;
use store::SetupError;

use super::say;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often it is said what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Does a step until it is done, from its start each time, because nobody knows what a server that
/// gave no answer has done. Other errors end it.
pub(super) async fn persist<T>(
    what: &str,
    mut step: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut said: Option<Instant> = None;
    loop {
        let error = match step().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let is_away = error
            .downcast_ref::<SetupError>()
            .is_some_and(SetupError::is_away);
        if !is_away {
            return Err(error);
        }
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            say(format!("waiting for InfluxDB {what}: {error:#}"));
            said = Some(Instant::now());
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}
