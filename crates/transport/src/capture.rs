//! Captures messages of a broker for a while.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{Packet, QoS, Subscribe, SubscribeReasonCode};
use tokio::time::{Instant, timeout_at};

use crate::broker::{BrokerConnection, BrokerError, options};
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

/// The messages that a broker sends for a filter within `time`, at most `max`: topics and payloads, retained
/// ones included. The session leaves nothing behind at the broker.
pub async fn capture(
    settings: &MqttSettings,
    filter: &str,
    time: Duration,
    max: usize,
) -> Result<Vec<(String, Bytes)>, CaptureError> {
    let client_id = format!("rigline-capture-{:08x}", fastrand::u32(..));
    let options = options(settings, &client_id, true);
    let end = Instant::now() + time;
    let (mut connection, _) = match timeout_at(end, BrokerConnection::open(&options)).await {
        Ok(opened) => opened?,
        Err(_) => return Err(CaptureError("the broker doesn't answer".to_owned())),
    };
    let mut subscribe = Subscribe::new(filter, QoS::AtMostOnce);
    subscribe.pkid = SUBSCRIBE_ID;
    connection.send([Packet::Subscribe(subscribe)]).await?;
    let mut messages = Vec::new();
    while messages.len() < max {
        let ping_due = connection.ping_due();
        let packet = tokio::select! {
            packet = timeout_at(end, connection.read()) => packet,
            () = ping_due => {
                connection.ping(true).await?;
                continue;
            }
        };
        // The time is over.
        let Ok(packet) = packet else { break };
        match packet? {
            Packet::Publish(publish) => messages.push((publish.topic, publish.payload)),
            Packet::SubAck(granted)
                if granted.return_codes.first() == Some(&SubscribeReasonCode::Failure) =>
            {
                return Err(BrokerError::Subscription(filter.to_owned()).into());
            }
            _ => {}
        }
    }
    connection.close([]).await;
    Ok(messages)
}
