//! The trait for everything that messages are received from.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use model::dead_letter::PayloadDigest;
use tokio::sync::OwnedSemaphorePermit;

/// A source of messages: a session with a broker, or the listener.
pub trait Source: Send + 'static {
    /// Waits for at least one message, then appends up to `max` of those that have arrived to `batch`,
    /// and returns how many. Cancel-safe: if the future is dropped, no message is lost.
    fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery>,
    ) -> impl Future<Output = Result<usize, SessionEnded>> + Send;

    /// Acknowledges messages in the given order, which should be the order of their arrival. It can't
    /// fail and doesn't wait: a message whose connection is gone is delivered again.
    fn ack(&self, tickets: impl IntoIterator<Item = Ticket>);

    /// Sends the acknowledgements that were passed to [`ack`](Self::ack), and ends the session, within
    /// about a second.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A message that was received.
#[derive(Debug)]
pub struct Delivery {
    /// The topic that it was published to.
    pub topic: String,
    /// Its content, or the beginning of it if it is [`truncated`](Self::truncated).
    pub payload: Bytes,
    /// The whole content, of which only the beginning was kept: its packet was larger than
    /// `MQTT_MAX_PACKET` of the listener.
    pub truncated: Option<PayloadDigest>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The broker had retained it from before the subscription. From the listener, which retains nothing,
    /// it is the flag that the device has set, without a meaning.
    pub retain: bool,
    /// It may have been delivered before.
    pub dup: bool,
    /// When it was read from the network.
    pub received: Instant,
    /// Hand it to [`Source::ack`] once the message is safe.
    pub ticket: Ticket,
    /// The memory that the listener has reserved for it and the messages that were read with it. It is
    /// released when the last of them is dropped.
    pub(crate) share: Option<Arc<OwnedSemaphorePermit>>,
}

/// The right to acknowledge one message, once. It has no effect once its connection is gone: the
/// message is delivered again then, and its packet id may belong to another one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a message whose ticket isn't passed to `Source::ack` is delivered again after a reconnect"]
pub struct Ticket {
    pub(crate) connection: u64,
    /// 0 at QoS 0, where nothing is acknowledged.
    pub(crate) packet_id: u16,
    /// It was published with QoS 2, which has another acknowledgement.
    pub(crate) exactly_once: bool,
}

/// The session has ended. This happens only if its task has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the MQTT session has ended")]
pub struct SessionEnded;
