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
    connections: HashMap<u64, Entry>,
    /// The connection of each client id.
    clients: HashMap<Arc<str>, u64>,
    /// How many connections each user has.
    users: HashMap<Arc<str>, usize>,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    commands: mpsc::UnboundedSender<Command>,
    /// The user that it is counted for.
    user: Option<Arc<str>>,
}

/// A user has as many connections as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserIsFull(pub(crate) usize);

/// A connection's entry; dropping it removes the entry.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Registry,
    connection: u64,
    pub(crate) client_id: Arc<str>,
}

impl Table {
    /// Counts one connection less for a user.
    fn leave(&mut self, user: Option<Arc<str>>) {
        let Some(user) = user else { return };
        if let Some(count) = self.users.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&user);
            }
        }
    }
}

impl Registry {
    /// Adds a connection. An earlier connection with the same client id is ended, and isn't counted for its user
    /// any more. Fails if the user has `max_of_user` others.
    pub(crate) fn register(
        &self,
        connection: u64,
        client_id: &str,
        user: Option<&str>,
        max_of_user: Option<usize>,
    ) -> Result<(Registration, mpsc::UnboundedReceiver<Command>), UserIsFull> {
        let client_id: Arc<str> = client_id.into();
        // Unbounded: the messages that aren't acknowledged bound the commands.
        let (commands, receiver) = mpsc::unbounded_channel();
        let mut table = self.lock();
        let table = &mut *table;
        let earlier = table.clients.get(&client_id).copied();
        let earlier = earlier.and_then(|earlier| table.connections.get_mut(&earlier));
        let user: Option<Arc<str>> = user.map(Into::into);
        if let (Some(user), Some(max)) = (&user, max_of_user) {
            let replaces = earlier
                .as_ref()
                .is_some_and(|earlier| earlier.user.as_ref() == Some(user));
            let others = table.users.get(user).copied().unwrap_or_default() - usize::from(replaces);
            if others >= max {
                return Err(UserIsFull(max));
            }
        }
        if let Some(earlier) = earlier {
            let _ = earlier
                .commands
                .send(Command::Disconnect(DisconnectReason::TakenOver));
            let user = earlier.user.take();
            table.leave(user);
        }
        table.clients.insert(client_id.clone(), connection);
        if let Some(user) = &user {
            *table.users.entry(user.clone()).or_default() += 1;
        }
        if table.closed {
            let _ = commands.send(Command::Disconnect(DisconnectReason::ShuttingDown));
        }
        table
            .connections
            .insert(connection, Entry { commands, user });
        let registry = self.clone();
        Ok((
            Registration {
                registry,
                connection,
                client_id,
            },
            receiver,
        ))
    }

    /// Hands a connection its acknowledgements, if it is still there.
    pub(crate) fn acknowledge(&self, connection: u64, tickets: Vec<Ticket>) {
        self.command(connection, Command::Acknowledge(tickets));
    }

    /// Hands a connection a command, if it is still there.
    pub(crate) fn command(&self, connection: u64, command: Command) {
        if let Some(entry) = self.lock().connections.get(&connection) {
            let _ = entry.commands.send(command);
        }
    }

    /// Ends all connections, and those that register later.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        for entry in table.connections.values() {
            let _ = entry
                .commands
                .send(Command::Disconnect(DisconnectReason::ShuttingDown));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.registry.lock();
        if let Some(entry) = table.connections.remove(&self.connection) {
            table.leave(entry.user);
        }
        if table.clients.get(&self.client_id) == Some(&self.connection) {
            table.clients.remove(&self.client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Registry, UserIsFull};
    use crate::listener::reason::DisconnectReason;

    #[test]
    fn a_connection_that_was_taken_over_leaves_the_entry_of_the_new_one() {
        let registry = Registry::default();
        let (first, mut commands) = registry.register(1, "a", None, None).unwrap();
        let (second, mut newer) = registry.register(2, "a", None, None).unwrap();
        assert!(matches!(
            commands.try_recv(),
            Ok(Command::Disconnect(DisconnectReason::TakenOver))
        ));
        drop(first);
        let (third, _commands) = registry.register(3, "a", None, None).unwrap();
        assert!(matches!(
            newer.try_recv(),
            Ok(Command::Disconnect(DisconnectReason::TakenOver))
        ));
        drop((second, third));
        let table = registry.lock();
        assert!(table.clients.is_empty() && table.connections.is_empty());
    }

    #[test]
    fn a_user_has_connections_up_to_its_limit_and_a_client_that_connects_again_replaces_its_own() {
        let registry = Registry::default();
        let register = |number, client, user| registry.register(number, client, user, Some(2));
        let _first = register(1, "a", Some("ann")).unwrap();
        let second = register(2, "b", Some("ann")).unwrap();
        assert_eq!(register(3, "c", Some("ann")).unwrap_err(), UserIsFull(2));
        let _others =
            [(4, "d", Some("bob")), (5, "e", None)].map(|(n, id, user)| register(n, id, user));
        let again = register(6, "b", Some("ann")).unwrap();
        assert_eq!(register(7, "c", Some("ann")).unwrap_err(), UserIsFull(2));
        // The one that was replaced isn't counted any more, so its end changes nothing.
        drop(second);
        assert_eq!(register(8, "c", Some("ann")).unwrap_err(), UserIsFull(2));
        drop(again);
        assert!(register(9, "c", Some("ann")).is_ok());
        assert_eq!(registry.lock().users.len(), 2);
    }
}
