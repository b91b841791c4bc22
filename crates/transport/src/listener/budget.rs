//! How much of what clients send is kept in memory, whatever their number.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Messages that wait to be received by the caller.
const MESSAGES: u32 = 20_000;
/// Bytes of messages that wait, or were received and are kept by the caller.
const BYTES: usize = 64 << 20;
/// Bytes of packets that have arrived in part.
const PARTS: usize = 64 << 20;
/// Bytes of CONNECTs that have arrived in part: of strangers, who must not take others' room.
const CONNECTS: usize = 32 << 20;
/// What a message takes besides its topic and its payload.
pub(crate) const OVERHEAD: usize = 256;

/// The room for messages; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    slots: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    parts: Arc<Semaphore>,
    connects: Arc<Semaphore>,
}

/// Room that was set aside for messages before they are read.
#[derive(Debug)]
pub(crate) struct Room {
    slots: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
}

/// Waits for room; keeps its place in the queue.
pub(crate) type Waiting<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

impl Budget {
    /// One in which a packet of `max_packet` bytes has room.
    pub(crate) fn new(max_packet: usize) -> Self {
        let semaphore = |size: usize| Arc::new(Semaphore::new(size));
        Self {
            slots: semaphore(MESSAGES as usize),
            bytes: semaphore(BYTES.max(bytes(max_packet, 1))),
            parts: semaphore(PARTS.max(max_packet)),
            connects: semaphore(CONNECTS),
        }
    }

    /// Room for up to `messages` in `size` bytes of packets, if there is.
    pub(crate) fn try_room(&self, size: usize, messages: u32) -> Option<Room> {
        let slots = self.slots.clone().try_acquire_many_owned(messages).ok()?;
        let bytes = permits(bytes(size, messages));
        let bytes = self.bytes.clone().try_acquire_many_owned(bytes).ok()?;
        Some(Room { slots, bytes })
    }

    /// The same, once there is; nothing only if the listener is gone.
    pub(crate) fn room(&self, size: usize, messages: u32) -> Waiting<Room> {
        let Self {
            slots,
            bytes: all_bytes,
            ..
        } = self.clone();
        Box::pin(async move {
            // One after the other: who waits for bytes waits for the caller, who needs no slots.
            let slots = slots.acquire_many_owned(messages).await.ok()?;
            let bytes = permits(bytes(size, messages));
            let bytes = all_bytes.acquire_many_owned(bytes).await.ok()?;
            Some(Room { slots, bytes })
        })
    }

    /// Room for a packet that has arrived in part, and has `size` bytes in the end.
    pub(crate) fn part(&self, size: usize) -> Waiting<OwnedSemaphorePermit> {
        let parts = self.parts.clone();
        Box::pin(async move { parts.acquire_many_owned(permits(size)).await.ok() })
    }

    /// The same for a CONNECT.
    pub(crate) async fn connect(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let connects = self.connects.clone();
        connects.acquire_many_owned(permits(size)).await.ok()
    }
}

impl Room {
    /// Gives back what `messages` that take `bytes` don't need. The first part goes when they are
    /// received, the second when they are dropped.
    pub(crate) fn shrink(
        mut self,
        messages: usize,
        bytes: usize,
    ) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
        let slots = self.slots.num_permits().min(messages);
        let bytes = self.bytes.num_permits().min(bytes);
        (
            self.slots.split(slots).unwrap_or(self.slots),
            self.bytes.split(bytes).unwrap_or(self.bytes),
        )
    }
}

/// The most that packets of `size` bytes can take as messages: their payloads are copied into one
/// piece of memory of that size, their topics each into one of its own.
const fn bytes(size: usize, messages: u32) -> usize {
    2 * size + messages as usize * OVERHEAD
}

fn permits(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::{BYTES, Budget, MESSAGES, OVERHEAD};

    #[test]
    fn what_is_not_needed_goes_back_at_once_and_the_rest_later() {
        let budget = Budget::new(1_000);
        let room = budget.try_room(1_000, 10).unwrap();
        let (slots, bytes) = room.shrink(2, 500);
        let left = |budget: &Budget| {
            (
                budget.slots.available_permits(),
                budget.bytes.available_permits(),
            )
        };
        assert_eq!(left(&budget), (MESSAGES as usize - 2, BYTES - 500));
        drop((slots, bytes));
        assert_eq!(left(&budget), (MESSAGES as usize, BYTES));
    }

    #[test]
    fn the_largest_packet_fits() {
        let most = 268_435_460;
        let budget = Budget::new(most);
        let room = budget.try_room(most, 1).unwrap();
        assert_eq!(room.bytes.num_permits(), 2 * most + OVERHEAD);
    }

    #[tokio::test]
    async fn who_waits_gets_room_when_it_comes() {
        let budget = Budget::new(1_000);
        let all = budget.try_room(1_000, MESSAGES).unwrap();
        assert!(budget.try_room(10, 1).is_none());
        let mut waiting = budget.room(10, 1);
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(all);
        assert!(waiting.await.is_some());
    }
}
