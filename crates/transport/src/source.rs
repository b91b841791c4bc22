//! The trait for everything that messages are received from.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use model::dead_letter::PayloadDigest;
use model::position::PositionStep;
use tokio::sync::OwnedSemaphorePermit;

/// Most bytes of a key or a header's value in a dead letter.
const SHOWN_METADATA: usize = 128;
/// Most headers in a dead letter.
const SHOWN_HEADERS: usize = 10;

/// A source of messages: a session with a broker, the listener, channels of Redis, or HTTP.
pub trait Source: Send + 'static {
    /// The name of the dependency that is up while messages can arrive.
    const NAME: &'static str;

    /// Whether messages have positions: whether [`steps`](Self::steps) returns any.
    const HAS_POSITIONS: bool = false;

    /// The right to acknowledge one message, once.
    type Ticket: Send + Sync + 'static;

    /// Waits for at least one message, then appends up to `max` of those that have arrived to `batch`,
    /// and returns how many. Cancel-safe: if the future is dropped, no message is lost.
    fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery<Self::Ticket>>,
    ) -> impl Future<Output = Result<usize, SessionEnded>> + Send;

    /// How the positions of the queue change when it takes the messages of these tickets, which are the first
    /// ones that aren't acknowledged, in the order of their arrival. None if messages have no positions.
    fn steps<'a>(&self, tickets: impl Iterator<Item = &'a Self::Ticket>) -> Vec<PositionStep> {
        drop(tickets);
        Vec::new()
    }

    /// Acknowledges messages in the given order, which should be the order of their arrival. It can't
    /// fail and doesn't wait: a message whose connection is gone is delivered again.
    fn ack(&self, tickets: impl IntoIterator<Item = Self::Ticket>);

    /// Sends the acknowledgements that were passed to [`ack`](Self::ack), and ends the session, within
    /// about a second.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A source of several connections, each of which can be paused.
pub trait PausableSource: Source {
    /// The connection that a message came from.
    fn connection(ticket: &Self::Ticket) -> u64;

    /// Reads no further messages from a connection, besides some that were read already.
    fn pause(&self, connection: u64);

    /// Reads from a connection again.
    fn resume(&self, connection: u64);
}

/// A message that was received.
#[derive(Debug)]
pub struct Delivery<T = Ticket> {
    /// The topic or channel that it was published to.
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
    pub ticket: T,
    /// The client that published it, if the rules of the listener (`MQTT_ACL`) don't allow it the topic. Such
    /// a message becomes a dead letter.
    pub refused: Option<Arc<Sender>>,
    /// Where it is in a source that keeps messages.
    pub origin: Option<Origin>,
    /// The memory that the listener has reserved for it and the messages that were read with it. It is
    /// released when the last of them is dropped.
    pub(crate) share: Option<Arc<OwnedSemaphorePermit>>,
}

impl<T> Delivery<T> {
    /// A message that was read now, of a source that knows nothing else of it.
    #[must_use]
    pub fn new(topic: String, payload: Bytes, ticket: T) -> Self {
        Self {
            topic,
            payload,
            truncated: None,
            qos: 0,
            retain: false,
            dup: false,
            received: Instant::now(),
            ticket,
            refused: None,
            origin: None,
            share: None,
        }
    }
}

impl<T> Delivery<T> {
    /// The ticket, and the message with another one instead.
    pub(crate) fn replace_ticket<U>(self, ticket: U) -> (T, Delivery<U>) {
        let message = Delivery {
            topic: self.topic,
            payload: self.payload,
            truncated: self.truncated,
            qos: self.qos,
            retain: self.retain,
            dup: self.dup,
            received: self.received,
            ticket,
            refused: self.refused,
            origin: self.origin,
            share: self.share,
        };
        (self.ticket, message)
    }

    /// A copy of the message with another ticket.
    pub(crate) fn with_ticket<U>(&self, ticket: U) -> Delivery<U> {
        Delivery {
            topic: self.topic.clone(),
            payload: self.payload.clone(),
            truncated: self.truncated,
            qos: self.qos,
            retain: self.retain,
            dup: self.dup,
            received: self.received,
            ticket,
            refused: self.refused.clone(),
            origin: self.origin.clone(),
            share: self.share.clone(),
        }
    }
}

/// The place and the metadata of a record, which a dead letter names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The headers.
    pub headers: Vec<(String, Bytes)>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bytes: &Bytes| {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_METADATA)]);
            text.escape_debug().to_string()
        };
        write!(f, "partition {}, offset {}", self.partition, self.offset)?;
        if let Some(key) = &self.key {
            write!(f, ", key {}", shown(key))?;
        }
        for (name, value) in self.headers.iter().take(SHOWN_HEADERS) {
            write!(f, ", header {}={}", name.escape_debug(), shown(value))?;
        }
        Ok(())
    }
}

/// A client of the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Its user name, if that was checked.
    pub user: Option<String>,
    /// Its client id, which it chooses itself.
    pub client_id: String,
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "user {user:?}")?,
            None => f.write_str("a client without a user name")?,
        }
        write!(f, " (client id {:?})", self.client_id)
    }
}

/// The right to acknowledge one message of MQTT, once. It has no effect once its connection is gone: the
/// message is delivered again then, and its packet id may belong to another one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a message whose ticket isn't passed to `Source::ack` is delivered again after a reconnect"]
pub struct Ticket {
    pub(crate) connection: u64,
    /// 0 at QoS 0, where nothing is acknowledged.
    pub(crate) packet_id: u16,
    /// It was published with QoS 2, which has another acknowledgement.
    pub(crate) exactly_once: bool,
    /// Its publisher isn't allowed the topic, which the acknowledgement of MQTT 5 says.
    pub(crate) refused: bool,
}

/// The session has ended. This happens only if its task has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct SessionEnded;
