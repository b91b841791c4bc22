//! A broker in memory, for tests of what receives messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::source::{Delivery, SessionEnded, Source};

/// Keeps messages until they are acknowledged, and delivers them again to each new session. Clones share
/// the messages.
#[derive(Debug, Clone, Default)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    messages: Mutex<Messages>,
    published: Notify,
}

#[derive(Debug, Default)]
struct Messages {
    next: u64,
    /// Messages that aren't acknowledged, oldest first.
    kept: VecDeque<(u64, String, Bytes)>,
    acknowledged: Vec<u64>,
}

impl MemoryBroker {
    /// Publishes a message; returns its number, from 0 on.
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>) -> u64 {
        let mut messages = self.lock();
        let number = messages.next;
        messages.next += 1;
        let message = (number, topic.to_owned(), payload.into());
        messages.kept.push_back(message);
        drop(messages);
        self.shared.published.notify_waiters();
        number
    }

    /// The numbers of the acknowledged messages, in the order of their acknowledgements.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<u64> {
        self.lock().acknowledged.clone()
    }

    /// A new session.
    #[must_use]
    pub fn session(&self) -> MemorySession {
        MemorySession {
            broker: self.clone(),
            next: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        let messages = self.shared.messages.lock();
        messages.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session with a [`MemoryBroker`].
#[derive(Debug)]
pub struct MemorySession {
    broker: MemoryBroker,
    /// The number from which on messages weren't delivered in this session.
    next: u64,
}

impl MemorySession {
    fn take(&mut self, max: usize, batch: &mut Vec<Delivery<u64>>) -> usize {
        let messages = self.broker.lock();
        let new = messages
            .kept
            .iter()
            .filter(|(number, ..)| *number >= self.next);
        let before = batch.len();
        batch.extend(new.take(max).map(|(number, topic, payload)| {
            Delivery::new(topic.clone(), payload.clone(), *number)
        }));
        if let Some(last) = batch[before..].last() {
            self.next = last.ticket + 1;
        }
        batch.len() - before
    }
}

impl Source for MemorySession {
    const NAME: &'static str = "memory";
    type Ticket = u64;

    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery<u64>>,
    ) -> Result<usize, SessionEnded> {
        let shared = Arc::clone(&self.broker.shared);
        loop {
            let published = shared.published.notified();
            let taken = self.take(max.max(1), batch);
            if taken > 0 {
                return Ok(taken);
            }
            published.await;
        }
    }

    fn ack(&self, tickets: impl IntoIterator<Item = u64>) {
        let mut messages = self.broker.lock();
        for ticket in tickets {
            messages.kept.retain(|(number, ..)| *number != ticket);
            messages.acknowledged.push(ticket);
        }
    }

    async fn close(self) {}
}
