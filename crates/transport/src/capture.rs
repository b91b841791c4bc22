//! Reads messages of a broker without taking them from anybody.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{Packet, QoS, Subscribe};
use tokio::time::{Instant, timeout_at};

use crate::broker::{BrokerConnection, BrokerError, Received, options};
use crate::settings::MqttSettings;

const SUBSCRIBE_ID: u16 = 1;

/// Why nothing can be captured.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CaptureError(String);

impl From<BrokerError> for CaptureError {
    fn from(error: BrokerError) -> Self {
        Self(error.to_string())
    }
}

/// A message of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Bytes,
    /// Whether the broker had retained it from before the subscription.
    pub is_retained: bool,
}

/// A subscription that leaves nothing behind at the broker, and takes nothing from other subscribers.
pub struct Capture {
    connection: BrokerConnection,
    filter: String,
}

impl Capture {
    /// Connects and subscribes to a filter at QoS 0.
    pub async fn open(settings: &MqttSettings, filter: &str) -> Result<Self, CaptureError> {
        let client_id = format!("rigline-capture-{:08x}", fastrand::u32(..));
        let options = options(settings, &client_id, true);
        let (mut connection, _) = BrokerConnection::open(&options).await?;
        let mut subscribe = Subscribe::new(filter, QoS::AtMostOnce);
        subscribe.pkid = SUBSCRIBE_ID;
        connection.send([Packet::Subscribe(subscribe)]).await?;
        Ok(Self {
            connection,
            filter: filter.to_owned(),
        })
    }

    /// The next message, retained ones included. Dropping the future loses none. Fails if the broker refuses
    /// the subscription, or if the connection ends.
    pub async fn next(&mut self) -> Result<Captured, CaptureError> {
        loop {
            let ping_due = self.connection.ping_due();
            let packet = tokio::select! {
                packet = self.connection.read() => packet?,
                () = ping_due => {
                    self.connection.ping(true).await?;
                    continue;
                }
            };
            match packet {
                Received::Publish(publish) => {
                    return Ok(Captured {
                        topic: publish.topic,
                        payload: publish.payload,
                        is_retained: publish.retain,
                    });
                }
                Received::SubAck(granted) => {
                    if let Some(Err(reason)) = granted.first() {
                        return Err(CaptureError(format!(
                            "the broker refuses to subscribe us to {:?}: {reason}; check its access rules \
                             (`rigline up` takes no subscriptions)",
                            self.filter
                        )));
                    }
                }
                _ => {}
            }
        }
    }

    /// Ends the connection.
    pub async fn close(self) {
        self.connection.close([]).await;
    }
}

/// The messages that a broker sends for a filter within `time`, at most `max`: topics and payloads, retained
/// ones included. The session leaves nothing behind at the broker.
pub async fn capture(
    settings: &MqttSettings,
    filter: &str,
    time: Duration,
    max: usize,
) -> Result<Vec<(String, Bytes)>, CaptureError> {
    let end = Instant::now() + time;
    let mut capture = match timeout_at(end, Capture::open(settings, filter)).await {
        Ok(opened) => opened?,
        Err(_) => return Err(CaptureError("the broker doesn't answer".to_owned())),
    };
    let mut messages = Vec::new();
    while messages.len() < max {
        // Otherwise the time is over.
        let Ok(message) = timeout_at(end, capture.next()).await else {
            break;
        };
        let message = message?;
        messages.push((message.topic, message.payload));
    }
    capture.close().await;
    Ok(messages)
}
