//! How many connections may be open: in all and of one address, logged in or not.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many connections may be open at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// `MQTT_MAX_CONNECTIONS`
    pub(crate) all: usize,
    /// `MQTT_MAX_CONNECTIONS_PER_ADDRESS`
    pub(crate) of_address: usize,
}

impl ConnectionLimits {
    /// Connections that are half-open, in all: the other half is left for clients that have logged in.
    const fn half_open(self) -> usize {
        self.all.div_ceil(2)
    }

    /// Connections of an address that are half-open. Of a host whose clients all reconnect at once,
    /// most are.
    const fn half_open_of_address(self) -> usize {
        self.of_address - self.of_address / 4
    }
}

/// A limit on connections that is reached. The text says which, and names the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitReached {
    #[error("{0} connections are open, the limit (MQTT_MAX_CONNECTIONS)")]
    All(usize),
    #[error(
        "{0} connections of its address are open, the limit (MQTT_MAX_CONNECTIONS_PER_ADDRESS)"
    )]
    OfAddress(usize),
    #[error("{0} connections haven't logged in yet, the limit (half of MQTT_MAX_CONNECTIONS)")]
    HalfOpen(usize),
    #[error(
        "{0} connections of its address haven't logged in yet, the limit (three quarters of \
         MQTT_MAX_CONNECTIONS_PER_ADDRESS)"
    )]
    HalfOpenOfAddress(usize),
}

impl LimitReached {
    /// The label under which it is counted.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::All(_) => "connections",
            Self::OfAddress(_) => "connections_of_address",
            Self::HalfOpen(_) => "half_open",
            Self::HalfOpenOfAddress(_) => "half_open_of_address",
        }
    }
}

/// The open connections by address; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    limits: ConnectionLimits,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    half_open: usize,
    addresses: HashMap<IpAddr, Connections>,
}

/// The connections of an address.
#[derive(Debug, Default)]
struct Connections {
    open: usize,
    /// Those that haven't logged in, by number: the oldest comes first. Dropping a sender evicts its
    /// connection.
    half_open: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A connection that was admitted.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) slot: Slot,
    /// The address of a half-open connection that is closed in return, and the limit that was reached.
    pub(crate) evicted: Option<(IpAddr, LimitReached)>,
}

/// The place of a connection; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Slot {
    table: Arc<Mutex<Table>>,
    address: IpAddr,
    number: u64,
    evicted: oneshot::Receiver<()>,
    logged_in: bool,
}

impl Admission {
    /// No connection is open.
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            table: Arc::default(),
        }
    }

    /// Admits a new connection with this number, which is half-open.
    ///
    /// When a limit in all is reached, the oldest half-open connection of the address that has the most
    /// of them is closed for it, if that address has more of them than this one: otherwise a few hosts
    /// that never log in would keep out all others.
    pub(crate) fn admit(&self, address: IpAddr, number: u64) -> Result<Admitted, LimitReached> {
        let (limits, address) = (self.limits, address.to_canonical());
        let mut table = lock(&self.table);
        let (open, half_open) = table.addresses.get(&address).map_or((0, 0), |connections| {
            (connections.open, connections.half_open.len())
        });
        if open >= limits.of_address {
            return Err(LimitReached::OfAddress(limits.of_address));
        }
        if half_open >= limits.half_open_of_address() {
            let limit = limits.half_open_of_address();
            return Err(LimitReached::HalfOpenOfAddress(limit));
        }
        let reached = if table.open >= limits.all {
            Some(LimitReached::All(limits.all))
        } else if table.half_open >= limits.half_open() {
            Some(LimitReached::HalfOpen(limits.half_open()))
        } else {
            None
        };
        let evicted = match reached {
            Some(limit) => Some((table.evict(half_open).ok_or(limit)?, limit)),
            None => None,
        };
        let (sender, receiver) = oneshot::channel();
        table.open += 1;
        table.half_open += 1;
        let connections = table.addresses.entry(address).or_default();
        connections.open += 1;
        connections.half_open.insert(number, sender);
        Ok(Admitted {
            slot: Slot {
                table: self.table.clone(),
                address,
                number,
                evicted: receiver,
                logged_in: false,
            },
            evicted,
        })
    }
}

impl Table {
    /// Closes the oldest half-open connection of the address that has the most, if it has more than
    /// `least`. Returns the address.
    fn evict(&mut self, least: usize) -> Option<IpAddr> {
        let addresses = self.addresses.iter_mut();
        let (&address, connections) =
            addresses.max_by_key(|(_, connections)| connections.half_open.len())?;
        if connections.half_open.len() <= least {
            return None;
        }
        connections.half_open.pop_first()?;
        self.half_open -= 1;
        self.close(address);
        Some(address)
    }

    /// Counts a connection as closed.
    fn close(&mut self, address: IpAddr) {
        self.open -= 1;
        if let Some(connections) = self.addresses.get_mut(&address) {
            connections.open -= 1;
            if connections.open == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    /// Removes a connection from the half-open ones; `false` if it was evicted before.
    fn finish_half_open(&mut self, address: IpAddr, number: u64) -> bool {
        let connections = self.addresses.get_mut(&address);
        let found = connections.and_then(|connections| connections.half_open.remove(&number));
        if found.is_some() {
            self.half_open -= 1;
        }
        found.is_some()
    }
}

impl Slot {
    /// The number of the connection.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Waits until the connection is evicted, for as long as it hasn't logged in.
    pub(crate) async fn evicted(&mut self) {
        // The sender is dropped without sending.
        let _ = (&mut self.evicted).await;
    }

    /// The client has logged in. `false` if the connection was evicted before.
    pub(crate) fn log_in(&mut self) -> bool {
        self.logged_in = lock(&self.table).finish_half_open(self.address, self.number);
        self.logged_in
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        // One that was evicted is counted as closed already.
        if self.logged_in || table.finish_half_open(self.address, self.number) {
            table.close(self.address);
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::{Admission, Admitted, ConnectionLimits, LimitReached, Slot, lock};

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn slot(admitted: Result<Admitted, LimitReached>) -> Slot {
        let Admitted { slot, evicted } = admitted.unwrap();
        assert_eq!(evicted, None);
        slot
    }

    #[test]
    fn an_address_reaches_its_limits_and_others_are_admitted() {
        let limits = ConnectionLimits {
            all: 20,
            of_address: 4,
        };
        let admission = Admission::new(limits);
        let mut number = 0..;
        let mut admit = |last| admission.admit(address(last), number.next().unwrap());
        let mut slots: Vec<_> = (0..3).map(|_| slot(admit(1))).collect();
        let refused = admit(1).unwrap_err();
        assert_eq!(refused, LimitReached::HalfOpenOfAddress(3));
        assert!(slots.iter_mut().all(Slot::log_in));
        slots.push(slot(admit(1)));
        assert_eq!(admit(1).unwrap_err(), LimitReached::OfAddress(4));
        let text = LimitReached::OfAddress(4).to_string();
        assert!(text.contains("MQTT_MAX_CONNECTIONS_PER_ADDRESS"), "{text}");
        slots.push(slot(admit(2)));
        slots.remove(0);
        slots.push(slot(admit(1)));
        // The same address, as a socket for both versions of IP reports it.
        let mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped();
        let refused = admission.admit(mapped.into(), 100).unwrap_err();
        assert_eq!(refused, LimitReached::OfAddress(4));
    }

    #[tokio::test]
    async fn the_busiest_address_gives_way_to_one_with_fewer_half_open_connections() {
        let limits = ConnectionLimits {
            all: 8,
            of_address: 4,
        };
        let admission = Admission::new(limits);
        let mut oldest = slot(admission.admit(address(1), 1));
        let mut others = vec![
            slot(admission.admit(address(1), 2)),
            slot(admission.admit(address(1), 3)),
            slot(admission.admit(address(2), 4)),
        ];
        let admitted = admission.admit(address(3), 5).unwrap();
        let reached = LimitReached::HalfOpen(4);
        assert_eq!(admitted.evicted, Some((address(1), reached)));
        oldest.evicted().await;
        assert!(!oldest.log_in(), "it was evicted");
        drop(oldest);
        assert!(others.iter_mut().all(Slot::log_in), "they weren't evicted");
        others.push(admitted.slot);
        let half_open: Vec<_> = (6..8)
            .map(|n| slot(admission.admit(address(3), n)))
            .collect();
        let _eighth = slot(admission.admit(address(4), 8));
        let ninth = admission.admit(address(4), 9).unwrap();
        assert_eq!(ninth.evicted, Some((address(3), reached)));
        // Now both have two.
        for last in [3, 4] {
            assert_eq!(admission.admit(address(last), 10).unwrap_err(), reached);
        }
        drop(half_open);
    }

    #[test]
    fn logged_in_connections_are_never_evicted() {
        let limits = ConnectionLimits {
            all: 4,
            of_address: 4,
        };
        let admission = Admission::new(limits);
        let mut slots = Vec::new();
        for number in 0..4 {
            slots.push(slot(admission.admit(address(1), number)));
            assert!(slots.last_mut().unwrap().log_in());
        }
        let refused = admission.admit(address(2), 9).unwrap_err();
        assert_eq!(refused, LimitReached::All(4));
        slots.pop();
        slot(admission.admit(address(2), 10));
    }

    proptest! {
        /// Whatever comes and goes, the counts are those of the slots, and no limit is exceeded.
        #[test]
        fn counts_are_those_of_the_slots(steps in proptest::collection::vec(any::<(u8, u8)>(), 1..300)) {
            let limits = ConnectionLimits { all: 12, of_address: 5 };
            let admission = Admission::new(limits);
            let mut slots: Vec<Slot> = Vec::new();
            for (number, (action, place)) in (0..).zip(steps) {
                if action < 160 {
                    if let Ok(admitted) = admission.admit(address(place % 6), number) {
                        slots.push(admitted.slot);
                    }
                } else if !slots.is_empty() {
                    let place = usize::from(place) % slots.len();
                    if action < 200 && !slots[place].logged_in {
                        slots[place].log_in();
                    } else {
                        slots.swap_remove(place);
                    }
                }
                slots.retain_mut(|slot| {
                    slot.logged_in || slot.evicted.try_recv() == Err(TryRecvError::Empty)
                });
                let table = lock(&admission.table);
                let mut expected: HashMap<IpAddr, (usize, usize)> = HashMap::new();
                for slot in &slots {
                    let (open, half_open) = expected.entry(slot.address).or_default();
                    *open += 1;
                    *half_open += usize::from(!slot.logged_in);
                }
                let found: HashMap<_, _> = table.addresses.iter()
                    .map(|(&address, one)| (address, (one.open, one.half_open.len()))).collect();
                prop_assert_eq!(&found, &expected);
                prop_assert_eq!(table.open, slots.len());
                prop_assert_eq!(table.half_open, found.values().map(|one| one.1).sum::<usize>());
                prop_assert!(table.open <= 12 && table.half_open <= 6);
                prop_assert!(found.values().all(|one| one.0 <= 5 && one.1 <= 4));
            }
        }
    }
}
