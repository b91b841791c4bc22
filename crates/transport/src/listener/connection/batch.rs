//! The messages of one read, on their way to the caller.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use model::dead_letter::PayloadDigest;
use tokio::sync::OwnedSemaphorePermit;

use crate::listener::codec::Publish;
use crate::listener::limits::{MESSAGE_OVERHEAD, Reservation};
use crate::source::{Delivery, Sender, Ticket};

/// Messages for the caller.
#[derive(Debug)]
pub(crate) struct MessageBatch {
    pub(crate) deliveries: Vec<Delivery>,
    /// Their share of the limit on messages that wait; dropped when the caller receives them.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Collects the messages that were read together.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    connection: u64,
    /// The bytes that were read. The payloads are slices of them.
    source: Bytes,
    received: Instant,
    deliveries: Vec<Delivery>,
    /// Bytes of memory that the messages take besides `source`.
    bytes: usize,
}

impl BatchBuilder {
    /// A builder for the messages in `source`, which came from this connection.
    pub(crate) fn new(connection: u64, source: Bytes) -> Self {
        Self {
            connection,
            source,
            received: Instant::now(),
            deliveries: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a message that was decoded from the source, with its publisher if it isn't allowed the topic.
    pub(crate) fn push(&mut self, publish: &Publish<'_>, refused: Option<Arc<Sender>>) {
        self.push_truncated(publish, refused, None);
    }

    /// Like [`Self::push`]. With a digest, the payload is the beginning of the one that it describes.
    pub(crate) fn push_truncated(
        &mut self,
        publish: &Publish<'_>,
        refused: Option<Arc<Sender>>,
        whole: Option<PayloadDigest>,
    ) {
        self.bytes += publish.topic.len() + MESSAGE_OVERHEAD;
        self.deliveries.push(Delivery {
            topic: publish.topic.to_owned(),
            payload: self.source.slice_ref(publish.payload),
            truncated: whole,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            received: self.received,
            ticket: Ticket {
                connection: self.connection,
                packet_id: publish.packet_id,
                exactly_once: publish.qos == 2,
                refused: refused.is_some(),
            },
            refused,
            origin: None,
            share: None,
        });
    }

    /// How many messages there are.
    pub(crate) const fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// The messages, with what they need of the reservation; `None` if there are none.
    pub(crate) fn finish(mut self, reservation: Reservation) -> Option<MessageBatch> {
        if self.deliveries.is_empty() {
            return None;
        }
        let bytes = self.source.len() + self.bytes;
        let (permit, share) = reservation.shrink(self.deliveries.len(), bytes);
        let share = Arc::new(share);
        for delivery in &mut self.deliveries {
            delivery.share = Some(share.clone());
        }
        Some(MessageBatch {
            deliveries: self.deliveries,
            permit,
        })
    }
}
