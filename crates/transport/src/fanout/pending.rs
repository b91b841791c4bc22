//! Messages that some pipeline hasn't acknowledged yet.

use std::collections::{HashMap, VecDeque};

/// The right of one pipeline to acknowledge its part of a message, once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a message that isn't acknowledged by all its pipelines is delivered again"]
pub struct Share<T> {
    pub(super) connection: u64,
    /// The message's number.
    pub(super) number: u64,
    /// The place of the pipeline.
    pub(super) route: usize,
    ticket: std::marker::PhantomData<T>,
}

/// The messages of each connection, in the order of their arrival.
#[derive(Debug)]
pub(super) struct Pending<T> {
    connections: HashMap<u64, VecDeque<Entry<T>>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    /// How many pipelines haven't acknowledged it.
    missing: usize,
    ticket: T,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            connections: HashMap::new(),
            next: 0,
        }
    }
}

impl<T> Pending<T> {
    /// Adds a message for these pipelines; returns the share of each.
    pub(super) fn add<'a>(
        &mut self,
        connection: u64,
        ticket: T,
        routes: &'a [usize],
    ) -> impl Iterator<Item = Share<T>> + use<'a, T> {
        let number = self.next;
        self.next += 1;
        let entry = Entry {
            number,
            missing: routes.len(),
            ticket,
        };
        self.connections
            .entry(connection)
            .or_default()
            .push_back(entry);
        routes.iter().map(move |route| Share {
            connection,
            number,
            route: *route,
            ticket: std::marker::PhantomData,
        })
    }

    /// Notes an acknowledgement. Adds the tickets of messages that can be acknowledged now, in their order.
    pub(super) fn acknowledge(&mut self, share: &Share<T>, tickets: &mut Vec<T>) {
        let Some(entries) = self.connections.get_mut(&share.connection) else {
            return;
        };
        // Numbers increase, but not by one: the others are of other connections.
        let place = entries.binary_search_by_key(&share.number, |entry| entry.number);
        if let Some(entry) = place.ok().and_then(|place| entries.get_mut(place)) {
            entry.missing = entry.missing.saturating_sub(1);
        }
        while let Some(entry) = entries.pop_front_if(|entry| entry.missing == 0) {
            tickets.push(entry.ticket);
        }
        if entries.is_empty() {
            self.connections.remove(&share.connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pending, Share};

    /// Adds a message of a connection for these pipelines.
    fn add(
        pending: &mut Pending<u32>,
        connection: u64,
        ticket: u32,
        routes: &[usize],
    ) -> Vec<Share<u32>> {
        pending.add(connection, ticket, routes).collect()
    }

    #[test]
    fn messages_are_acknowledged_by_all_and_in_the_order_of_their_connection() {
        let mut pending = Pending::default();
        let first = add(&mut pending, 1, 10, &[0, 1]);
        let second = add(&mut pending, 1, 11, &[0]);
        let other = add(&mut pending, 2, 20, &[1]);
        let mut tickets = Vec::new();
        let mut acknowledge = |share: &Share<u32>| {
            pending.acknowledge(share, &mut tickets);
            std::mem::take(&mut tickets)
        };
        assert!(acknowledge(&second[0]).is_empty());
        assert_eq!(
            acknowledge(&other[0]),
            [20],
            "another connection doesn't wait"
        );
        assert!(acknowledge(&first[1]).is_empty());
        assert_eq!(acknowledge(&first[0]), [10, 11]);
        assert!(pending.connections.is_empty());
    }
}
