//! Sessions with an MQTT 3.1.1 broker: a [`Subscriber`] that acknowledges a message only when it
//! is told to, and a [`Publisher`] that keeps a message until the broker has acknowledged it.
//!
//! The client library is used as a wire only (connecting, encoding, decoding). What is outstanding,
//! which connection an acknowledgement belongs to, and what has to be sent again is kept here.

mod connection;
mod link;
mod publisher;
mod settings;
mod subscriber;
mod window;

pub use publisher::{Counts, PublishError, Publisher};
pub use settings::{MqttSettings, SubscribeSettings};
pub use subscriber::{Delivery, SessionEnded, Subscriber, Ticket};
