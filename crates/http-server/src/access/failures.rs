//! Limits how many tokens an address can try.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong tokens of an address within a period, after which it has to wait.
const MAX_FAILURES: u32 = 10;
/// How long failures count.
const PERIOD: Duration = Duration::from_mins(1);
/// Addresses that are remembered. Beyond them, nobody's failures are.
const MAX_ADDRESSES: usize = 10_000;

/// The failures of each address. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures {
    since: Arc<Mutex<HashMap<IpAddr, (Instant, u32)>>>,
}

impl Failures {
    /// How long an address has to wait until its tokens are looked at again, if it has to.
    pub(crate) fn wait(&self, address: IpAddr) -> Option<Duration> {
        let failures = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = failures.get(&network(address))?;
        let left = PERIOD.checked_sub(since.elapsed())?;
        (*count >= MAX_FAILURES && left > Duration::ZERO).then_some(left)
    }

    /// Counts a wrong token of an address.
    pub(crate) fn add(&self, address: IpAddr) {
        let mut failures = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if failures.len() >= MAX_ADDRESSES {
            failures.retain(|_, (since, _)| now.duration_since(*since) < PERIOD);
        }
        if failures.len() >= MAX_ADDRESSES {
            return;
        }
        let (since, count) = failures.entry(network(address)).or_insert((now, 0));
        if now.duration_since(*since) >= PERIOD {
            (*since, *count) = (now, 0);
        }
        *count += 1;
    }
}

/// The address, of IPv6 its network: a host has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::{Failures, MAX_ADDRESSES};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_failures_within_a_minute_block_an_address_for_the_rest_of_it() {
        let failures = Failures::default();
        let (one, other) = (address("2001:db8::1"), address("2001:db8:0:1::1"));
        for _ in 0..9 {
            failures.add(one);
            assert_eq!(failures.wait(one), None);
        }
        tokio::time::advance(Duration::from_secs(40)).await;
        failures.add(address("2001:db8::2"));
        assert_eq!(failures.wait(one), Some(Duration::from_secs(20)));
        assert_eq!(failures.wait(other), None);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(failures.wait(one), None);
        failures.add(one);
        assert_eq!(failures.wait(one), None, "earlier failures are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_many_addresses_take_bounded_memory() {
        let failures = Failures::default();
        for number in 0..u32::try_from(2 * MAX_ADDRESSES).unwrap() {
            failures.add(IpAddr::V4(number.into()));
        }
        assert_eq!(failures.since.lock().unwrap().len(), MAX_ADDRESSES);
        tokio::time::advance(Duration::from_mins(1)).await;
        failures.add(address("10.0.0.1"));
        assert_eq!(failures.since.lock().unwrap().len(), 1);
    }
}
