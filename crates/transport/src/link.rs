//! One connection after the other, with pauses between the tries.

use std::time::Duration;

use common::backoff::Backoff;
use common::health::Dependency;
use rumqttc::MqttOptions;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, Fault};

const SHORTEST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A connection that held this long counts as a success: the next try is soon.
const HELD: Duration = Duration::from_secs(10);

/// The way to the broker: connects until it is told to stop.
pub(crate) struct Link {
    options: MqttOptions,
    dependency: Dependency,
    stop: CancellationToken,
    backoff: Backoff,
    opened: Instant,
}

impl Link {
    pub(crate) fn new(
        options: MqttOptions,
        dependency: Dependency,
        stop: CancellationToken,
    ) -> Self {
        let backoff = Backoff::new(SHORTEST_WAIT, LONGEST_WAIT);
        Self {
            options,
            dependency,
            stop,
            backoff,
            opened: Instant::now(),
        }
    }

    /// A new connection, and whether the broker still had the session; nothing once stopped.
    pub(crate) async fn connect(&mut self) -> Option<(Connection, bool)> {
        loop {
            let opened = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                opened = Connection::open(&self.options) => opened,
            };
            match opened {
                Ok(connected) => {
                    self.opened = Instant::now();
                    return Some(connected);
                }
                Err(fault) => self.pause(&fault).await,
            }
        }
    }

    /// The last connection ended with this fault; returns when it is time for another.
    pub(crate) async fn lost(&mut self, mut fault: Fault) {
        if self.opened.elapsed() >= HELD {
            self.backoff.reset();
        } else if let Fault::Closed(hint) = &mut fault {
            *hint = " right away: does another client use the same MQTT_CLIENT_ID?";
        }
        self.pause(&fault).await;
    }

    async fn pause(&mut self, fault: &Fault) {
        self.dependency.down(fault);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(self.backoff.next_wait()) => {}
        }
    }
}
