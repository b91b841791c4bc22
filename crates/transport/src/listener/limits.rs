//! Limits on the memory for what clients send, over all connections.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Messages that the caller hasn't received yet.
const MESSAGES: usize = 20_000;
/// Bytes of messages that the caller hasn't received, or hasn't dropped yet.
const MESSAGE_BYTES: usize = 64 << 20;
/// Bytes of large packets that aren't complete.
const PARTIAL_PACKET_BYTES: usize = 64 << 20;
/// Bytes of large CONNECTs that aren't complete. They have a limit of their own, so that clients that
/// haven't logged in can't hold up the others.
const PARTIAL_CONNECT_BYTES: usize = 32 << 20;
/// Bytes that a message takes besides its topic and payload.
pub(crate) const MESSAGE_OVERHEAD: usize = 256;

/// The memory that is left; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct MemoryLimits {
    messages: Arc<Semaphore>,
    message_bytes: Arc<Semaphore>,
    partial_packets: Arc<Semaphore>,
    partial_connects: Arc<Semaphore>,
}

/// Memory that is reserved for messages before they are read.
#[derive(Debug)]
pub(crate) struct Reservation {
    messages: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
}

impl MemoryLimits {
    /// The default limits, raised if need be so that a packet of `max_packet` bytes fits.
    pub(crate) fn new(max_packet: usize) -> Self {
        let semaphore = |size: usize| Arc::new(Semaphore::new(size));
        Self {
            messages: semaphore(MESSAGES),
            message_bytes: semaphore(MESSAGE_BYTES.max(upper_bound(max_packet, 1))),
            partial_packets: semaphore(PARTIAL_PACKET_BYTES.max(max_packet)),
            partial_connects: semaphore(PARTIAL_CONNECT_BYTES),
        }
    }

    /// Reserves memory for up to `count` messages in `size` bytes of packets, if it is free.
    pub(crate) fn try_reserve(&self, size: usize, count: usize) -> Option<Reservation> {
        let (messages, bytes) = (self.messages.clone(), self.message_bytes.clone());
        let messages = messages.try_acquire_many_owned(permits(count)).ok()?;
        let bytes = bytes.try_acquire_many_owned(permits(upper_bound(size, count)));
        bytes.ok().map(|bytes| Reservation { messages, bytes })
    }

    /// Waits until the memory is free, and reserves it. The error is never returned: nothing closes
    /// the semaphores.
    pub(crate) async fn reserve(
        &self,
        size: usize,
        count: usize,
    ) -> Result<Reservation, AcquireError> {
        let (messages, bytes) = (self.messages.clone(), self.message_bytes.clone());
        // In this order: a connection that waits for bytes waits for the caller to drop messages,
        // which needs no permit for messages.
        let messages = messages.acquire_many_owned(permits(count)).await?;
        let bytes = bytes.acquire_many_owned(permits(upper_bound(size, count)));
        Ok(Reservation {
            messages,
            bytes: bytes.await?,
        })
    }

    /// Reserves memory for a large packet of `size` bytes while it isn't complete.
    pub(crate) async fn reserve_partial_packet(
        &self,
        size: usize,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let packets = self.partial_packets.clone();
        packets.acquire_many_owned(permits(size)).await
    }

    /// Reserves memory for a large CONNECT of `size` bytes while it isn't complete.
    pub(crate) async fn reserve_partial_connect(
        &self,
        size: usize,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let connects = self.partial_connects.clone();
        connects.acquire_many_owned(permits(size)).await
    }
}

impl Reservation {
    /// Releases what `count` messages of `bytes` bytes don't need. The first permit is to be dropped
    /// when the caller receives the messages, the second when it has dropped them.
    pub(crate) fn shrink(
        mut self,
        count: usize,
        bytes: usize,
    ) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
        let count = self.messages.num_permits().min(count);
        let bytes = self.bytes.num_permits().min(bytes);
        (
            self.messages.split(count).unwrap_or(self.messages),
            self.bytes.split(bytes).unwrap_or(self.bytes),
        )
    }
}

/// The most memory that the messages in packets of `size` bytes can take: the packets themselves, of
/// which the payloads are slices, and copies of the topics.
const fn upper_bound(size: usize, count: usize) -> usize {
    2 * size + count * MESSAGE_OVERHEAD
}

fn permits(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::{MESSAGE_BYTES, MESSAGE_OVERHEAD, MESSAGES, MemoryLimits};

    #[test]
    fn shrink_releases_the_excess_at_once_and_the_rest_on_drop() {
        let limits = MemoryLimits::new(1_000);
        let reservation = limits.try_reserve(1_000, 10).unwrap();
        let (messages, bytes) = reservation.shrink(2, 500);
        let left = |limits: &MemoryLimits| {
            (
                limits.messages.available_permits(),
                limits.message_bytes.available_permits(),
            )
        };
        assert_eq!(left(&limits), (MESSAGES - 2, MESSAGE_BYTES - 500));
        drop((messages, bytes));
        assert_eq!(left(&limits), (MESSAGES, MESSAGE_BYTES));
    }

    #[test]
    fn the_largest_packet_fits() {
        let largest = 268_435_460;
        let limits = MemoryLimits::new(largest);
        let reservation = limits.try_reserve(largest, 1).unwrap();
        assert_eq!(
            reservation.bytes.num_permits(),
            2 * largest + MESSAGE_OVERHEAD
        );
    }

    #[tokio::test]
    async fn reserve_waits_until_memory_is_released() {
        let limits = MemoryLimits::new(1_000);
        let all = limits.try_reserve(1_000, MESSAGES).unwrap();
        assert!(limits.try_reserve(10, 1).is_none());
        let mut waiting = pin!(limits.reserve(10, 1));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(all);
        assert!(waiting.await.is_ok());
    }
}
