//! Sends messages, counts them, and knows the expected number.

use std::sync::atomic::{AtomicU64, Ordering};

use common::metric;
use metrics::{Counter, counter};
use transport::{PublishError, Publisher};

/// A publisher with counts of sent and expected messages.
pub(crate) struct Outlet<'a> {
    publisher: &'a Publisher,
    expected: AtomicU64,
    next_id: AtomicU64,
    sent: Counter,
}

impl<'a> Outlet<'a> {
    /// Starts at zero.
    pub fn new(publisher: &'a Publisher) -> Self {
        Self {
            publisher,
            expected: AtomicU64::new(0),
            next_id: AtomicU64::new(0),
            sent: counter!(metric::PRODUCED, "state" => "sent"),
        }
    }

    /// Sends a message. Waits while the publisher's queue is full.
    pub async fn send(&self, topic: String, payload: Vec<u8>) -> Result<(), PublishError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.publisher.publish(id, topic, payload).await?;
        self.sent.increment(1);
        Ok(())
    }

    /// Sets the expected number of messages.
    pub fn expect(&self, messages: u64) {
        self.expected.store(messages, Ordering::Relaxed);
    }

    /// The expected number of messages, if known.
    pub fn expected(&self) -> Option<u64> {
        Some(self.expected.load(Ordering::Relaxed)).filter(|messages| *messages > 0)
    }
}
