//! Sends and receives messages over MQTT, and receives those of Redis Pub/Sub, Kafka, HTTP and streams over
//! HTTP.
//!
//! With a 3.1.1 broker in between: a [`Publisher`] keeps each message until the broker has acknowledged
//! it, and a [`Subscriber`] acknowledges a message only when it is told to. Without a broker: devices
//! publish to a [`Listener`], which acknowledges only when it is told to, too. `Subscriber`,
//! [`Listening`] and [`RedisSubscriber`] implement [`Source`].
//!
//! The client library `rumqttc` only encodes and decodes. This crate connects, with or without TLS, and keeps track
//! of unacknowledged messages, of the connection that an acknowledgement belongs to, and of what has to
//! be sent again. The listener has its own decoder, because its input may be hostile.

mod broker;
mod broker_drops;
mod capture;
mod fanout;
mod http;
mod http_stream;
mod kafka;
mod listener;
#[cfg(feature = "testing")]
mod memory;
mod posted;
mod probe;
mod publisher;
mod pubsub;
mod reconnect;
mod settings;
mod source;
mod subscriber;
mod watch;
mod window;

pub use broker_drops::watch_broker_drops;
pub use capture::{Capture, CaptureError, Captured, capture};
pub use fanout::{Fanout, FanoutSession, Wants};
pub use http::{HttpListener, HttpReceiver, HttpRoute, HttpSettings, MessageCheck, store_messages};
pub use http_stream::{HttpStreamSettings, HttpStreamSource, HttpStreamTicket, HttpStreamTls};
#[cfg(feature = "kafka")]
pub use kafka::{KafkaSource, KafkaTicket, reader_settings as kafka_reader};
pub use kafka::{check_kafka, find_kafka_topic};
#[cfg(feature = "testing")]
pub use listener::testing as generated;
pub use listener::{
    BindError, ListenSettings, Listener, Listening, PasswordError, SocketSettings, hash_password,
};
#[cfg(feature = "testing")]
pub use memory::{MemoryBroker, MemorySession};
pub use posted::{Inbox, NoOther, NotStored, PostedTicket, WithPosts};
pub use probe::{
    Broker, Limits, ProbeError, keeps_sessions, probe_broker, probe_limits, probe_login,
    probe_subscription, probe_web_socket,
};
pub use publisher::{Counts, PublishError, Publisher};
pub use pubsub::{Channels, PubSubError, PubSubSettings, RedisPublisher, RedisSubscriber};
pub use settings::{MqttSettings, MqttVersion, Retained, SubscribeSettings, UrlError};
pub use source::{Delivery, Origin, PausableSource, Sender, SessionEnded, Source, Ticket};
pub use subscriber::Subscriber;
pub use watch::{MessageWatch, Seen};
