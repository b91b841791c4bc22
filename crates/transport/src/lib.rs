//! Sends and receives messages over MQTT.
//!
//! With a 3.1.1 broker in between: a [`Publisher`] keeps each message until the broker has acknowledged
//! it, and a [`Subscriber`] acknowledges a message only when it is told to. Without a broker: devices
//! publish to a [`Listener`], which acknowledges only when it is told to, too. `Subscriber` and
//! [`Listening`] implement [`Source`].
//!
//! The client library `rumqttc` only connects to the broker, encodes and decodes. This crate keeps track
//! of unacknowledged messages, of the connection that an acknowledgement belongs to, and of what has to
//! be sent again. The listener has its own decoder, because its input may be hostile.

mod broker;
mod broker_drops;
mod listener;
mod publisher;
mod reconnect;
mod settings;
mod source;
mod subscriber;
mod window;

pub use broker_drops::watch_broker_drops;
pub use listener::{BindError, ListenSettings, Listener, Listening, PasswordError, hash_password};
pub use publisher::{Counts, PublishError, Publisher};
pub use settings::{MqttSettings, Retained, SubscribeSettings};
pub use source::{Delivery, SessionEnded, Source, Ticket};
pub use subscriber::Subscriber;
