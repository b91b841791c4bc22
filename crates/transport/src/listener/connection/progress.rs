//! How long a client may take to send an oversize packet.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::listener::reason::{ConnectionEnd, DisconnectReason};

/// Bytes that have to arrive within [`STEP_TIMEOUT`].
const STEP: usize = 256 << 10;
/// Time for each [`STEP`]: the minimum rate.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the packet to arrive completely.
const TOTAL_TIMEOUT: Duration = Duration::from_mins(10);

/// The time limits for reading an oversize packet: a minimum rate, and a total time.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    step_began: Instant,
    /// Bytes that have arrived since then.
    in_step: usize,
}

impl Progress {
    /// The packet begins.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            step_began: now,
            in_step: 0,
        }
    }

    /// Waits for a read until a time limit has passed, and counts the bytes.
    pub(crate) async fn limit(
        &mut self,
        read: impl Future<Output = io::Result<usize>>,
    ) -> Result<usize, ConnectionEnd> {
        let step = (
            self.step_began + STEP_TIMEOUT,
            DisconnectReason::SlowRate(STEP, STEP_TIMEOUT),
        );
        let total = (
            self.began + TOTAL_TIMEOUT,
            DisconnectReason::Slow(TOTAL_TIMEOUT),
        );
        let (deadline, reason) = if step.0 < total.0 { step } else { total };
        let count = timeout_at(deadline, read).await.map_err(|_| reason)??;
        self.in_step += count;
        if self.in_step >= STEP {
            self.in_step = 0;
            self.step_began = Instant::now();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{Progress, STEP, STEP_TIMEOUT, TOTAL_TIMEOUT};
    use crate::listener::reason::{ConnectionEnd, DisconnectReason};

    /// Reads pieces of this size with pauses between. Returns the number of seconds until the connection
    /// is ended, and why.
    async fn send(piece: usize, pause: Duration) -> (u64, ConnectionEnd) {
        let (began, mut progress) = (Instant::now(), Progress::new());
        let end = loop {
            let read = async {
                tokio::time::sleep(pause).await;
                Ok(piece)
            };
            if let Err(end) = progress.limit(read).await {
                break end;
            }
        };
        (began.elapsed().as_secs(), end)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_below_the_minimum_rate_and_one_that_never_ends_are_disconnected() {
        let too_slow = || ConnectionEnd::from(DisconnectReason::SlowRate(STEP, STEP_TIMEOUT));
        // 1 byte a second, and 8 KiB: 30 pieces of that are less than 256 KiB.
        for piece in [1, 8 << 10] {
            assert_eq!(send(piece, Duration::from_secs(1)).await, (30, too_slow()));
        }
        let total = ConnectionEnd::from(DisconnectReason::Slow(TOTAL_TIMEOUT));
        assert_eq!(send(10 << 10, Duration::from_secs(1)).await, (600, total));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_is_disconnected() {
        let mut progress = Progress::new();
        let read = async { Ok(STEP) };
        advance(Duration::from_secs(20)).await;
        assert_eq!(progress.limit(read).await, Ok(STEP));
        let began = Instant::now();
        assert!(progress.limit(pending()).await.is_err());
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}
