//! Connects to the broker again and again, with a backoff between the attempts.

use std::time::Duration;

use common::backoff::Backoff;
use common::health::Dependency;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::broker::{BrokerConnection, BrokerError, Options};

const MIN_WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(5);
/// A connection that lasted this long resets the backoff.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Opens connections to the broker until it is stopped.
pub(crate) struct Reconnector {
    options: Options,
    dependency: Dependency,
    stop: CancellationToken,
    backoff: Backoff,
    opened: Instant,
}

impl Reconnector {
    pub(crate) fn new(options: Options, dependency: Dependency, stop: CancellationToken) -> Self {
        let backoff = Backoff::new(MIN_WAIT, MAX_WAIT);
        Self {
            options,
            dependency,
            stop,
            backoff,
            opened: Instant::now(),
        }
    }

    /// Opens a connection. Returns whether the broker still had the session, too; `None` once stopped.
    pub(crate) async fn connect(&mut self) -> Option<(BrokerConnection, bool)> {
        loop {
            let opened = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                opened = BrokerConnection::open(&self.options) => opened,
            };
            match opened {
                Ok(connected) => {
                    self.opened = Instant::now();
                    return Some(connected);
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// Reports the error that ended the last connection, and waits until the next may be opened.
    pub(crate) async fn lost(&mut self, mut error: BrokerError) {
        if self.opened.elapsed() >= STABLE_AFTER {
            self.backoff.reset();
        } else if let BrokerError::Closed(hint) = &mut error {
            *hint = " right away: does another client use the same MQTT_CLIENT_ID?";
        }
        self.pause(&error).await;
    }

    async fn pause(&mut self, error: &BrokerError) {
        self.dependency.down(error);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(self.backoff.next_wait()) => {}
        }
    }
}
