//! MQTT, both ways round. With a 3.1.1 broker between: a [`Subscriber`] that acknowledges a message
//! only when it is told to, and a [`Publisher`] that keeps a message until the broker has
//! acknowledged it. Without one: a [`Listener`] that devices publish to, and that acknowledges only
//! when it is told to, as well. Both that receive are a [`Source`].
//!
//! Towards a broker the client library is used as a wire only (connecting, encoding, decoding). What
//! is outstanding, which connection an acknowledgement belongs to, and what has to be sent again is
//! kept here. The listener has a decoder of its own: what it reads may be hostile.

mod connection;
mod link;
mod listener;
mod publisher;
mod settings;
mod source;
mod subscriber;
mod window;

pub use listener::{BindError, ListenSettings, Listener, Listening, PasswordError, hash_password};
pub use publisher::{Counts, PublishError, Publisher};
pub use settings::{MqttSettings, SubscribeSettings};
pub use source::{Delivery, SessionEnded, Source, Ticket};
pub use subscriber::Subscriber;
