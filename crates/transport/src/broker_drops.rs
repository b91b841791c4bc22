//! Reports messages that the broker has dropped because a queue of it was full.
//!
//! Mosquitto acknowledges a message that it drops, so its publisher can't know. It counts them in
//! `$SYS/broker/publish/messages/dropped`, for all of its clients together.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use common::backoff::Backoff;
use common::log_interval::{LogInterval, WARNING_INTERVAL};
use common::metric;
use metrics::gauge;
use rumqttc::{Packet, QoS, Subscribe};
use tokio_util::sync::CancellationToken;

use crate::broker::{BrokerConnection, BrokerError, Received, options};
use crate::settings::MqttSettings;

/// Where Mosquitto, and brokers that follow it, publish the number.
const TOPIC: &str = "$SYS/broker/publish/messages/dropped";
const SUBSCRIBE_ID: u16 = 1;
const MIN_WAIT: Duration = Duration::from_secs(1);
/// Long, because some brokers end the connection of a client that subscribes to `$SYS`.
const MAX_WAIT: Duration = Duration::from_mins(5);

/// Watches the broker's number of dropped messages until `stop`, and logs a warning when it grows.
///
/// It has a connection of its own, as client `{client_id}-sys` without a persistent session: a broker
/// that forbids the topic may end it without consequence for the readings. Its errors are logged at
/// DEBUG only, since the session that carries readings reports an unreachable broker.
pub async fn watch_broker_drops(
    settings: MqttSettings,
    client_id: String,
    stop: CancellationToken,
) {
    let options = options(&settings, &format!("{client_id}-sys"), true);
    let mut backoff = Backoff::new(MIN_WAIT, MAX_WAIT);
    let mut drops = Drops::new();
    loop {
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            ended = async {
                let (connection, _) = BrokerConnection::open(&options).await?;
                serve(connection, |dropped| {
                    backoff.reset();
                    drops.report(dropped);
                }).await
            } => ended,
        };
        let error = match ended {
            Ok(never) => match never {},
            Err(error) => error,
        };
        tracing::debug!(%error, topic = TOPIC, "the broker's number of dropped messages isn't known");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

async fn serve(
    mut connection: BrokerConnection,
    mut report: impl FnMut(u64),
) -> Result<Infallible, BrokerError> {
    let mut subscribe = Subscribe::new(TOPIC, QoS::AtMostOnce);
    subscribe.pkid = SUBSCRIBE_ID;
    connection.send([Packet::Subscribe(subscribe)]).await?;
    loop {
        let ping_due = connection.ping_due();
        tokio::select! {
            packet = connection.read() => if let Received::Publish(publish) = packet? {
                let number = str::from_utf8(&publish.payload).ok();
                if let Some(dropped) = number.and_then(|text| text.trim().parse().ok()) {
                    report(dropped);
                }
            },
            () = ping_due => connection.ping(true).await?,
        }
    }
}

/// The number as it was last reported.
struct Drops {
    /// What the last warning told.
    told: u64,
    warning: LogInterval,
}

impl Drops {
    const fn new() -> Self {
        Self {
            told: 0,
            warning: LogInterval::new(WARNING_INTERVAL),
        }
    }

    /// Takes the broker's number, counted since it started.
    #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
    fn report(&mut self, dropped: u64) {
        if let Some(new) = self.due_warning(dropped, Instant::now()) {
            tracing::warn!(
                new,
                since_the_broker_started = dropped,
                "the broker has dropped messages because a queue of it was full: if they were for \
                 this ingester, their readings are lost. Raise max_queued_messages and \
                 max_queued_bytes in mosquitto.conf with its memory limit, or find out why the \
                 ingester was away"
            );
        }
        gauge!(metric::BROKER_DROPPED).set(dropped as f64);
    }

    /// How many messages a warning should tell of, if one is due.
    fn due_warning(&mut self, dropped: u64, now: Instant) -> Option<u64> {
        // The broker was restarted, and counts from 0 again.
        let told = if dropped < self.told { 0 } else { self.told };
        self.told = told;
        let is_due = dropped > told && self.warning.is_due(now);
        is_due.then(|| {
            self.told = dropped;
            dropped - told
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Drops;

    #[test]
    fn a_warning_tells_of_new_drops_at_most_every_30_s_also_after_a_restart_of_the_broker() {
        let start = Instant::now();
        let mut drops = Drops::new();
        // Seconds, the broker's number, and what is told.
        let steps = [
            (0, 0, None),
            (10, 19, Some(19)),
            (20, 25, None),
            (30, 30, None),
            (40, 31, Some(12)),
            (100, 31, None),
            (110, 4, Some(4)),
            (150, 4, None),
        ];
        for (second, dropped, told) in steps {
            let now = start + Duration::from_secs(second);
            assert_eq!(drops.due_warning(dropped, now), told, "after {second} s");
        }
    }
}
