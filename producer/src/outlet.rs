//! Where everything that is sent goes through: what is counted, and how much there will be.

use std::sync::atomic::{AtomicU64, Ordering};

use common::metric;
use metrics::{Counter, counter};
use transport::{PublishError, Publisher};

/// A publisher, and what is known of how much it will have to send.
pub(crate) struct Outlet<'a> {
    publisher: &'a Publisher,
    expected: AtomicU64,
    next_id: AtomicU64,
    sent: Counter,
}

impl<'a> Outlet<'a> {
    /// One that nothing went through so far.
    pub fn new(publisher: &'a Publisher) -> Self {
        Self {
            publisher,
            expected: AtomicU64::new(0),
            next_id: AtomicU64::new(0),
            sent: counter!(metric::PRODUCED, "state" => "sent"),
        }
    }

    /// Sends one message, when there is room for it.
    pub async fn send(&self, topic: String, payload: Vec<u8>) -> Result<(), PublishError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.publisher.publish(id, topic, payload).await?;
        self.sent.increment(1);
        Ok(())
    }

    /// There will be so many messages at the end, as far as can be told now.
    pub fn expect(&self, messages: u64) {
        self.expected.store(messages, Ordering::Relaxed);
    }

    /// How many messages there will be, if anything is known.
    pub fn expected(&self) -> Option<u64> {
        Some(self.expected.load(Ordering::Relaxed)).filter(|messages| *messages > 0)
    }
}
