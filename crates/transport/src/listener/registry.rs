//! Who is connected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::fault::Fault;

/// What the task of a connection is told from outside.
#[derive(Debug)]
pub(crate) enum Order {
    /// Acknowledge these, in this order.
    Acknowledge(Vec<u16>),
    /// End.
    End(Fault),
}

/// The connections that were let in; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    connections: HashMap<u64, mpsc::UnboundedSender<Order>>,
    /// The connection of each client id.
    clients: HashMap<Arc<str>, u64>,
    closed: bool,
}

/// One of them; it is taken out when this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Registry,
    connection: u64,
    pub(crate) client: Arc<str>,
}

impl Registry {
    /// Adds a connection. Another one with the same client id is ended.
    pub(crate) fn add(
        &self,
        connection: u64,
        client: &str,
    ) -> (Registered, mpsc::UnboundedReceiver<Order>) {
        let client: Arc<str> = client.into();
        // Not bounded, since what can be in it is: by the messages that are outstanding.
        let (orders, receiver) = mpsc::unbounded_channel();
        let mut table = self.lock();
        if let Some(earlier) = table.clients.insert(client.clone(), connection)
            && let Some(earlier) = table.connections.get(&earlier)
        {
            let _ = earlier.send(Order::End(Fault::TakenOver));
        }
        if table.closed {
            let _ = orders.send(Order::End(Fault::ShuttingDown));
        }
        table.connections.insert(connection, orders);
        let registry = self.clone();
        (
            Registered {
                registry,
                connection,
                client,
            },
            receiver,
        )
    }

    /// Hands a connection its acknowledgements, if it is still there.
    pub(crate) fn acknowledge(&self, connection: u64, packet_ids: Vec<u16>) {
        if let Some(orders) = self.lock().connections.get(&connection) {
            let _ = orders.send(Order::Acknowledge(packet_ids));
        }
    }

    /// Ends all connections, and those that are still to come.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        for orders in table.connections.values() {
            let _ = orders.send(Order::End(Fault::ShuttingDown));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut table = self.registry.lock();
        table.connections.remove(&self.connection);
        if table.clients.get(&self.client) == Some(&self.connection) {
            table.clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Registry};
    use crate::listener::fault::Fault;

    #[test]
    fn who_was_taken_over_leaves_the_new_one_alone() {
        let registry = Registry::default();
        let (first, mut orders) = registry.add(1, "a");
        let (second, mut newer) = registry.add(2, "a");
        assert!(matches!(
            orders.try_recv(),
            Ok(Order::End(Fault::TakenOver))
        ));
        drop(first);
        let (third, _orders) = registry.add(3, "a");
        assert!(matches!(newer.try_recv(), Ok(Order::End(Fault::TakenOver))));
        drop((second, third));
        let table = registry.lock();
        assert!(table.clients.is_empty() && table.connections.is_empty());
    }
}
