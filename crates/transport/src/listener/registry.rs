//! The accepted connections, by number and by client id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::reason::DisconnectReason;
use crate::source::Ticket;

/// What the task of a connection has to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Acknowledge the messages of these tickets, in this order.
    Acknowledge(Vec<Ticket>),
    /// Read nothing from the client.
    Pause,
    /// Read from the client again.
    Resume,
    /// End the connection.
    Disconnect(DisconnectReason),
}

/// The accepted connections; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    connections: HashMap<u64, mpsc::UnboundedSender<Command>>,
    /// The connection of each client id.
    clients: HashMap<Arc<str>, u64>,
    closed: bool,
}

/// A connection's entry; dropping it removes the entry.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Registry,
    connection: u64,
    pub(crate) client_id: Arc<str>,
}

impl Registry {
    /// Adds a connection. An earlier connection with the same client id is ended.
    pub(crate) fn register(
        &self,
        connection: u64,
        client_id: &str,
    ) -> (Registration, mpsc::UnboundedReceiver<Command>) {
        let client_id: Arc<str> = client_id.into();
        // Unbounded: the messages that aren't acknowledged bound the commands.
        let (commands, receiver) = mpsc::unbounded_channel();
        let mut table = self.lock();
        if let Some(earlier) = table.clients.insert(client_id.clone(), connection)
            && let Some(earlier) = table.connections.get(&earlier)
        {
            let _ = earlier.send(Command::Disconnect(DisconnectReason::TakenOver));
        }
        if table.closed {
            let _ = commands.send(Command::Disconnect(DisconnectReason::ShuttingDown));
        }
        table.connections.insert(connection, commands);
        let registry = self.clone();
        (
            Registration {
                registry,
                connection,
                client_id,
            },
            receiver,
        )
    }

    /// Hands a connection its acknowledgements, if it is still there.
    pub(crate) fn acknowledge(&self, connection: u64, tickets: Vec<Ticket>) {
        self.command(connection, Command::Acknowledge(tickets));
    }

    /// Hands a connection a command, if it is still there.
    pub(crate) fn command(&self, connection: u64, command: Command) {
        if let Some(commands) = self.lock().connections.get(&connection) {
            let _ = commands.send(command);
        }
    }

    /// Ends all connections, and those that register later.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        for commands in table.connections.values() {
            let _ = commands.send(Command::Disconnect(DisconnectReason::ShuttingDown));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.registry.lock();
        table.connections.remove(&self.connection);
        if table.clients.get(&self.client_id) == Some(&self.connection) {
            table.clients.remove(&self.client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Registry};
    use crate::listener::reason::DisconnectReason;

    #[test]
    fn a_connection_that_was_taken_over_leaves_the_entry_of_the_new_one() {
        let registry = Registry::default();
        let (first, mut commands) = registry.register(1, "a");
        let (second, mut newer) = registry.register(2, "a");
        assert!(matches!(
            commands.try_recv(),
            Ok(Command::Disconnect(DisconnectReason::TakenOver))
        ));
        drop(first);
        let (third, _commands) = registry.register(3, "a");
        assert!(matches!(
            newer.try_recv(),
            Ok(Command::Disconnect(DisconnectReason::TakenOver))
        ));
        drop((second, third));
        let table = registry.lock();
        assert!(table.clients.is_empty() && table.connections.is_empty());
    }
}
