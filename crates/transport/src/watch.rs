//! Copies of the messages that a source delivers, for those who watch the traffic.

use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::capture::Captured;
use crate::source::Delivery;

/// Messages that wait for a watcher. One that falls further behind misses the oldest.
const WAITING: usize = 256;
/// Bytes of a payload that are shown.
const SHOWN_BYTES: usize = 64 << 10;

/// Where watchers get their copies from. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Watched(broadcast::Sender<Captured>);

/// What a watcher gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A message; of a long payload, the first 64 KiB.
    Message(Captured),
    /// So many messages came faster than they were read.
    Missed(u64),
}

/// Receives copies of messages from its creation on.
#[derive(Debug)]
pub struct MessageWatch(broadcast::Receiver<Captured>);

impl Default for Watched {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Watched {
    pub(crate) fn watch(&self) -> MessageWatch {
        MessageWatch(self.0.subscribe())
    }

    /// Shows messages, if somebody watches.
    pub(crate) fn show<T>(&self, deliveries: &[Delivery<T>]) {
        if self.0.receiver_count() == 0 {
            return;
        }
        for delivery in deliveries {
            let shown = &delivery.payload[..delivery.payload.len().min(SHOWN_BYTES)];
            // Fails when the last watcher has gone meanwhile.
            let _ = self.0.send(Captured {
                topic: delivery.topic.clone(),
                // A copy: a part of a buffer would keep the whole buffer in memory.
                payload: Bytes::copy_from_slice(shown),
                is_retained: delivery.retain,
            });
        }
    }
}

impl MessageWatch {
    /// Waits for the next one; `None` if the pipeline has gone.
    pub async fn next(&mut self) -> Option<Seen> {
        match self.0.recv().await {
            Ok(message) => Some(Seen::Message(message)),
            Err(RecvError::Lagged(count)) => Some(Seen::Missed(count)),
            Err(RecvError::Closed) => None,
        }
    }
}
