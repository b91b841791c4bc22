//! How long the listener waits for packets of a client.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::listener::reason::{ConnectionEnd, DisconnectReason};

/// Time for a packet to arrive completely, from its first byte.
const PACKET_TIMEOUT: Duration = Duration::from_secs(30);

/// The time limits for reading. Time in which the listener doesn't read doesn't count.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    /// 1.5 times the client's keep-alive; `None` if it has turned that off.
    timeout: Option<Duration>,
    /// When the last packet was complete.
    last_packet: Instant,
    /// When the first byte of the incomplete packet arrived.
    packet_began: Option<Instant>,
}

impl KeepAlive {
    /// Time limits for a client with a keep-alive of so many seconds; 0 turns it off.
    pub(crate) fn new(seconds: u16) -> Self {
        Self {
            timeout: (seconds > 0).then(|| Duration::from_millis(1_500 * u64::from(seconds))),
            last_packet: Instant::now(),
            packet_began: None,
        }
    }

    /// Waits for the client's bytes until a time limit has passed.
    pub(crate) async fn limit<T>(
        &self,
        read: impl Future<Output = io::Result<T>>,
    ) -> Result<T, ConnectionEnd> {
        let Some((deadline, reason)) = self.deadline() else {
            return Ok(read.await?);
        };
        let read = timeout_at(deadline, read).await.map_err(|_| reason)?;
        Ok(read?)
    }

    /// Waits for something else than the client. The wait doesn't count.
    pub(crate) async fn pause<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let paused = Instant::now();
        let output = wait.await;
        self.exclude(paused.elapsed());
        output
    }

    /// Bytes have arrived that completed packets, or left one incomplete.
    pub(crate) fn received(&mut self, completed: bool, incomplete: bool) {
        let now = Instant::now();
        if completed {
            self.last_packet = now;
            self.packet_began = None;
        }
        if incomplete {
            self.packet_began.get_or_insert(now);
        }
    }

    fn exclude(&mut self, pause: Duration) {
        self.last_packet += pause;
        self.packet_began = self.packet_began.map(|began| began + pause);
    }

    /// When the connection is ended if nothing more arrives, and why.
    fn deadline(&self) -> Option<(Instant, DisconnectReason)> {
        let silent = self
            .timeout
            .map(|timeout| (self.last_packet + timeout, DisconnectReason::KeepAlive));
        let slow = self.packet_began.map(|began| {
            (
                began + PACKET_TIMEOUT,
                DisconnectReason::Slow(PACKET_TIMEOUT),
            )
        });
        match (silent, slow) {
            (Some(silent), Some(slow)) if silent.0 < slow.0 => Some(silent),
            (silent, slow) => slow.or(silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io;
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::KeepAlive;
    use crate::listener::reason::{ConnectionEnd, DisconnectReason};

    /// Waits for bytes that don't arrive: how many seconds passed, and why the wait ended.
    async fn wait(keep_alive: &KeepAlive) -> (u64, DisconnectReason) {
        let began = Instant::now();
        let Err(ConnectionEnd::ByListener(reason)) =
            keep_alive.limit(pending::<io::Result<()>>()).await
        else {
            return (0, DisconnectReason::ShuttingDown);
        };
        (began.elapsed().as_secs(), reason)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_and_a_slow_packet_reach_their_time_limits() {
        let mut keep_alive = KeepAlive::new(60);
        advance(Duration::from_secs(80)).await;
        assert_eq!(wait(&keep_alive).await, (10, DisconnectReason::KeepAlive));
        keep_alive.received(true, true);
        let slow = DisconnectReason::Slow(Duration::from_secs(30));
        assert_eq!(wait(&keep_alive).await, (30, slow));
        keep_alive.received(true, false);
        assert_eq!(wait(&keep_alive).await, (90, DisconnectReason::KeepAlive));
        assert_eq!(KeepAlive::new(0).deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn more_bytes_of_a_packet_do_not_move_its_time_limit() {
        let mut keep_alive = KeepAlive::new(0);
        keep_alive.received(false, true);
        advance(Duration::from_secs(20)).await;
        keep_alive.received(false, true);
        let slow = DisconnectReason::Slow(Duration::from_secs(30));
        assert_eq!(wait(&keep_alive).await, (10, slow));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_do_not_count() {
        let mut keep_alive = KeepAlive::new(10);
        keep_alive.received(true, true);
        advance(Duration::from_secs(5)).await;
        keep_alive.pause(advance(Duration::from_secs(95))).await;
        assert_eq!(wait(&keep_alive).await, (10, DisconnectReason::KeepAlive));
    }
}
