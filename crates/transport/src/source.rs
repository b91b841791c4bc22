//! Where messages come from.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

/// Where messages come from: a session with a broker, or our own listener.
pub trait Source: Send + 'static {
    /// Waits for at least one message, then appends up to `max` of those that are there to `batch`;
    /// returns how many. Cancel-safe: a future that is dropped has taken nothing.
    fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery>,
    ) -> impl Future<Output = Result<usize, SessionEnded>> + Send;

    /// Acknowledges messages, in the order given, which should be that of their arrival. It can't
    /// fail and doesn't wait: what can't be acknowledged any more is delivered again.
    fn ack(&self, tickets: impl IntoIterator<Item = Ticket>);

    /// Sends the acknowledgements that were handed over, and ends the session; within about a
    /// second.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A message that was published to us.
#[derive(Debug)]
pub struct Delivery {
    /// Where it was published.
    pub topic: String,
    /// What was published.
    pub payload: Bytes,
    /// 0 or 1.
    pub qos: u8,
    /// It had been kept by the broker from before the subscription. Our own listener keeps nothing,
    /// and shows the flag as the device set it.
    pub retain: bool,
    /// It may have been delivered before.
    pub dup: bool,
    /// Hand it to [`Source::ack`] once the message is safe.
    pub ticket: Ticket,
    /// What it takes of the listener's memory budget, shared by the messages that were read
    /// together; given back with the last of them.
    pub(crate) share: Option<Arc<OwnedSemaphorePermit>>,
}

/// The right to acknowledge one message, once. It is worth nothing once its connection is gone: the
/// message is delivered again then, and its packet id may stand for another one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a message whose ticket is never handed back is delivered again after a reconnect"]
pub struct Ticket {
    pub(crate) connection: u64,
    /// 0 at QoS 0: nothing to acknowledge.
    pub(crate) packet_id: u16,
}

/// The session has ended: only after a panic of its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the MQTT session has ended")]
pub struct SessionEnded;
