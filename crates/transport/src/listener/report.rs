//! Counts and logs what clients did wrong. Anybody on the network can cause these log lines, so their
//! rate is limited: they must not fill the disk.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::log_interval::LogInterval;
use common::metric::{MQTT_DELAYED, MQTT_REFUSED};
use metrics::counter;

use super::admission::LimitReached;
use super::rate::RateReached;
use super::reason::{ConnectRefusal, DisconnectReason};

/// The longest prefix of a client id that is logged, in characters.
const LOGGED_CLIENT_ID: usize = 64;
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts and logs refusals and disconnects.
#[derive(Debug, Default)]
pub(crate) struct Reporter(RateLimiter);

impl Reporter {
    /// A CONNECT was refused.
    pub(crate) fn connect_refused(&self, refusal: ConnectRefusal, client: &str, peer: SocketAddr) {
        if let Some(repeats) = self.count(refusal.label()) {
            let client = shorten(client);
            tracing::warn!(client, %peer, repeats, "refused an mqtt client: {refusal}");
        }
    }

    /// The listener has ended a connection.
    pub(crate) fn disconnected(&self, reason: &DisconnectReason, client: &str, peer: SocketAddr) {
        if let Some(label) = reason.label()
            && let Some(repeats) = self.count(label)
        {
            let client = shorten(client);
            tracing::warn!(client, %peer, repeats, "ended an mqtt connection: {reason}");
        }
    }

    /// A subscription was refused.
    pub(crate) fn subscription_refused(&self, client: &str, peer: SocketAddr) {
        if let Some(repeats) = self.count("subscribe") {
            let client = shorten(client);
            tracing::warn!(client, %peer, repeats, "refused a subscription: clients only publish here");
        }
    }

    /// A new connection of this address was closed, because it would have exceeded a limit.
    pub(crate) fn connection_refused(&self, address: IpAddr, limit: LimitReached) {
        if let Some(repeats) = self.count(limit.label()) {
            tracing::warn!(%address, repeats, "closed a new connection at once: {limit}");
        }
    }

    /// A connection of this address that hadn't logged in was closed, to admit one of another address.
    pub(crate) fn connection_evicted(&self, address: IpAddr, limit: LimitReached) {
        if let Some(repeats) = self.count("evicted") {
            tracing::warn!(
                %address, repeats,
                "closed a connection that hasn't logged in, for one of another address: {limit}"
            );
        }
    }

    /// A client isn't read from for a while.
    pub(crate) fn delayed(&self, client: &str, peer: SocketAddr, rate: RateReached) {
        let label = rate.label();
        counter!(MQTT_DELAYED, "reason" => label).increment(1);
        if let Some(repeats) = self.0.allow(label) {
            let client = shorten(client);
            tracing::warn!(client, %peer, repeats, "slowed down an mqtt client: {rate}");
        }
    }

    /// Increments the counter. If a log line is due: the number of those that were suppressed.
    fn count(&self, label: &'static str) -> Option<u64> {
        counter!(MQTT_REFUSED, "reason" => label).increment(1);
        self.0.allow(label)
    }
}

/// The client id for the log, which escapes it.
fn shorten(client_id: &str) -> String {
    client_id.chars().take(LOGGED_CLIENT_ID).collect()
}

/// Allows one log line in each interval for each label.
#[derive(Debug, Default)]
struct RateLimiter(Mutex<BTreeMap<&'static str, (LogInterval, u64)>>);

impl RateLimiter {
    /// If a log line is allowed: how many were suppressed since the last one.
    fn allow(&self, label: &'static str) -> Option<u64> {
        let mut labels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (interval, suppressed) = labels
            .entry(label)
            .or_insert_with(|| (LogInterval::new(LOG_INTERVAL), 0));
        if interval.is_due(Instant::now()) {
            return Some(std::mem::take(suppressed));
        }
        *suppressed += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::RateLimiter;

    #[test]
    fn each_label_is_allowed_once() {
        let limiter = RateLimiter::default();
        let allowed = ["a", "b", "a", "a", "b"].map(|label| limiter.allow(label));
        assert_eq!(allowed, [Some(0), Some(0), None, None, None]);
    }
}
