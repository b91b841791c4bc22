//! How many messages a second users and addresses may send.
//!
//! Who has sent more isn't read from until the rate is that of the limit again: its messages wait on its
//! side, and none is dropped.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Messages of so much time may be sent at once.
const BURST: Duration = Duration::from_secs(1);
/// Below this number of entries, those that mean nothing any more are left.
const FEW: usize = 1_000;

/// A rate that was exceeded. The text says whose, and names the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RateReached {
    #[error("its user sends more than {0} messages a second (MQTT_MAX_RATE_PER_USER)")]
    OfUser(usize),
    #[error("its address sends more than {0} messages a second (MQTT_MAX_RATE_PER_ADDRESS)")]
    OfAddress(usize),
}

impl RateReached {
    /// The label under which it is counted.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::OfUser(_) => "rate_of_user",
            Self::OfAddress(_) => "rate_of_address",
        }
    }
}

/// The rates of all users and addresses.
#[derive(Debug, Default)]
pub(crate) struct RateLimits {
    users: Option<Limiter<Arc<str>>>,
    addresses: Option<Limiter<IpAddr>>,
}

impl RateLimits {
    /// Limits in messages a second; `None` for no limit.
    pub(crate) fn new(of_user: Option<usize>, of_address: Option<usize>) -> Self {
        Self {
            users: of_user.map(Limiter::new),
            addresses: of_address.map(Limiter::new),
        }
    }

    /// The limits that apply to a client; `None` if there are none.
    pub(crate) fn of(self: &Arc<Self>, user: Option<&str>, address: IpAddr) -> Option<ClientRate> {
        let applies = self.addresses.is_some() || self.users.is_some() && user.is_some();
        applies.then(|| ClientRate {
            limits: self.clone(),
            user: user.map(Into::into),
            address: address.to_canonical(),
        })
    }
}

/// The limits of one client.
#[derive(Debug)]
pub(crate) struct ClientRate {
    limits: Arc<RateLimits>,
    user: Option<Arc<str>>,
    address: IpAddr,
}

impl ClientRate {
    /// Counts messages that were read.
    pub(crate) fn count(&self, messages: usize) {
        let now = Instant::now();
        if let Some((limiter, user)) = self.limits.users.as_ref().zip(self.user.as_ref()) {
            limiter.count(user, messages, now);
        }
        if let Some(limiter) = &self.limits.addresses {
            limiter.count(&self.address, messages, now);
        }
    }

    /// How long the client must not be read from, and because of which limit; `None` if it may be.
    pub(crate) fn wait(&self) -> Option<(Duration, RateReached)> {
        let now = Instant::now();
        let user = self.limits.users.as_ref().zip(self.user.as_deref());
        let user = user.and_then(|(limiter, user)| {
            let wait = limiter.wait(user, now)?;
            Some((wait, RateReached::OfUser(limiter.rate)))
        });
        let address = self.limits.addresses.as_ref().and_then(|limiter| {
            let wait = limiter.wait(&self.address, now)?;
            Some((wait, RateReached::OfAddress(limiter.rate)))
        });
        user.into_iter().chain(address).max_by_key(|one| one.0)
    }
}

/// Token buckets of the same size. A bucket is the time at which it is full again, so one whose time has passed
/// needs no entry: the limit also applies to a client that connects again.
#[derive(Debug)]
struct Limiter<K> {
    /// Messages a second.
    rate: usize,
    buckets: Mutex<Buckets<K>>,
}

#[derive(Debug)]
struct Buckets<K> {
    full_at: HashMap<K, Instant>,
    /// With more entries than this, those that have passed are removed.
    most: usize,
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    fn new(rate: usize) -> Self {
        Self {
            rate,
            buckets: Mutex::new(Buckets {
                full_at: HashMap::new(),
                most: FEW,
            }),
        }
    }

    fn count(&self, key: &K, messages: usize, now: Instant) {
        #[expect(clippy::cast_precision_loss, reason = "messages of one read")]
        let time = Duration::from_secs_f64(messages as f64 / self.rate as f64);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.full_at.len() > buckets.most {
            buckets.full_at.retain(|_, full_at| *full_at > now);
            buckets.most = FEW.max(2 * buckets.full_at.len());
        }
        let full_at = buckets.full_at.entry(key.clone()).or_insert(now);
        *full_at = (*full_at).max(now) + time;
    }

    fn wait<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Instant) -> Option<Duration>
    where
        K: Borrow<Q>,
    {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let until_full = buckets.full_at.get(key)?.checked_duration_since(now)?;
        until_full.checked_sub(BURST).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{FEW, Limiter, RateLimits, RateReached};

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    #[tokio::test(start_paused = true)]
    async fn users_and_addresses_have_rates_over_all_their_connections() {
        let limits = Arc::new(RateLimits::new(Some(10), Some(100)));
        let client = |user, address| limits.of(user, address).unwrap();
        let (ann, again) = (client(Some("ann"), HOST), client(Some("ann"), HOST));
        let nobody = client(None, HOST);
        ann.count(10);
        assert_eq!(again.wait(), None);
        again.count(20);
        let expected = (Duration::from_secs(2), RateReached::OfUser(10));
        assert_eq!(ann.wait(), Some(expected));
        assert_eq!(nobody.wait(), None);
        // A mapped address is the same.
        let mapped = client(
            Some("bob"),
            Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().into(),
        );
        nobody.count(370);
        let expected = (Duration::from_secs(3), RateReached::OfAddress(100));
        for one in [&ann, &again, &nobody, &mapped] {
            assert_eq!(one.wait(), Some(expected));
        }
        advance(Duration::from_secs(3)).await;
        assert_eq!(ann.wait(), None);
        assert!(
            RateReached::OfUser(10)
                .to_string()
                .contains("MQTT_MAX_RATE_PER_USER")
        );
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let none = Arc::new(RateLimits::default());
        assert!(none.of(Some("ann"), HOST).is_none());
        let of_user = Arc::new(RateLimits::new(Some(1), None));
        assert!(of_user.of(None, HOST).is_none());
    }

    #[test]
    fn entries_that_mean_nothing_any_more_are_removed() {
        let (limiter, mut now) = (Limiter::new(1), Instant::now());
        let entries = |limiter: &Limiter<u32>| limiter.buckets.lock().unwrap().full_at.len();
        for key in 0..100_000 {
            limiter.count(&key, 1, now);
            now += Duration::from_millis(10);
        }
        assert!(entries(&limiter) <= FEW + 1, "{}", entries(&limiter));
    }
}
