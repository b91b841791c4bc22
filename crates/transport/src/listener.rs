//! A listener that devices publish to, in place of a broker.
//!
//! Each connection has a task. It reads what has arrived with one system call, decodes it, and hands
//! over the messages as one batch. The acknowledgements for a connection come back as a batch, too,
//! and are written with one system call.
//!
//! The path of a message: [`accept`] → [`handshake`] → [`connection`] (reader, [`codec`], batch) →
//! [`Listening`]; and of its acknowledgement: [`Listening`] → [`registry`] → [`connection`] (writer).

mod accept;
mod acl;
mod admission;
mod auth;
mod codec;
mod connection;
mod handshake;
mod limits;
mod reason;
mod registry;
mod report;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::health::Dependency;
use common::settings::BadSetting;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::accept::AcceptLoop;
use self::admission::{Admission, ConnectionLimits};
use self::auth::{AccessPolicy, Authenticator};
use self::connection::MessageBatch;
use self::limits::MemoryLimits;
use self::registry::{Command, Registry};
use self::report::Reporter;
use crate::source::{Delivery, PausableSource, SessionEnded, Source, Ticket};

pub use auth::{PasswordError, hash_password};
pub use settings::ListenSettings;

/// Why the listener can't listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An invalid setting.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// Another process listens at the address.
    #[error(
        "something else listens at {0}: stop it, or set another MQTT_LISTEN (--mqtt-listen \
         127.0.0.1:1884)"
    )]
    InUse(SocketAddr),
    /// Any other error of the system.
    #[error("can't listen at {address} (MQTT_LISTEN): {error}")]
    Io {
        /// The address that was tried.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
}

/// What the connections of a listener share.
#[derive(Debug)]
struct Shared {
    max_packet: usize,
    limits: MemoryLimits,
    registry: Registry,
    /// Unbounded: the limits bound what is in it.
    batches: mpsc::UnboundedSender<MessageBatch>,
    authenticator: Authenticator,
    reporter: Reporter,
}

/// An address that devices can connect to. No client is accepted before [`start`](Self::start).
#[derive(Debug)]
pub struct Listener {
    socket: Arc<TcpListener>,
    address: SocketAddr,
    access_policy: AccessPolicy,
    max_packet: usize,
    connection_limits: ConnectionLimits,
    /// The number of the last connection. It is kept over calls of [`start`](Self::start): an old
    /// ticket must not match a new connection.
    last_connection: Arc<AtomicU64>,
}

impl Listener {
    /// Opens the socket. Needs a tokio runtime around it.
    pub async fn bind(settings: &ListenSettings) -> Result<Self, BindError> {
        let access_policy = settings.access_policy()?;
        let address = settings.mqtt_listen;
        let bind_error = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address),
            _ => BindError::Io { address, error },
        };
        let socket = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = socket.local_addr().map_err(bind_error)?;
        Ok(Self {
            socket: Arc::new(socket),
            address,
            access_policy,
            max_packet: settings.mqtt_max_packet,
            connection_limits: settings.connection_limits(),
            last_connection: Arc::default(),
        })
    }

    /// The address, with the port that the system has chosen if the setting was port 0.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A function that reads the password file and the rule file again. Open connections stay, and new rules
    /// apply to them.
    pub fn reload(&self) -> impl Fn() + Send + 'static {
        let AccessPolicy { users, acl, .. } = self.access_policy.clone();
        move || {
            match users.as_ref().map(|file| file.reload()) {
                Some(Ok(users)) => tracing::info!(users, "read MQTT_USERS again"),
                Some(Err(error)) => {
                    tracing::error!(%error, "can't read MQTT_USERS again, the users are as before");
                }
                None => {}
            }
            match acl.as_ref().map(|file| file.reload()) {
                Some(Ok(rules)) => tracing::info!(rules, "read MQTT_ACL again"),
                Some(Err(error)) => {
                    tracing::error!(%error, "can't read MQTT_ACL again, the rules are as before");
                }
                None => {}
            }
        }
    }

    /// Starts to accept clients; `dependency` is up while it does. Can be called again once the earlier
    /// [`Listening`] was closed.
    #[must_use]
    pub fn start(&self, dependency: Dependency) -> Listening {
        let (sender, batches) = mpsc::unbounded_channel();
        let registry = Registry::default();
        let shared = Shared {
            max_packet: self.max_packet,
            limits: MemoryLimits::new(self.max_packet),
            registry: registry.clone(),
            batches: sender,
            authenticator: Authenticator::new(self.access_policy.clone()),
            reporter: Reporter::default(),
        };
        let stop = CancellationToken::new();
        let accept_loop = AcceptLoop {
            socket: self.socket.clone(),
            shared: Arc::new(shared),
            last_connection: self.last_connection.clone(),
            admission: Admission::new(self.connection_limits),
            dependency,
            stop: stop.clone(),
        };
        Listening {
            batches,
            remainder: None,
            registry,
            task: tokio::spawn(accept_loop.run()),
            stop: stop.drop_guard(),
        }
    }
}

/// A listener that accepts clients and receives their messages.
///
/// If the receiver falls behind, reads from the network pause: once about 20,000 messages wait, or 64
/// MiB of messages are in memory, with those that were received and aren't dropped yet. Acknowledgements
/// are still written. When a connection ends, the device has to send again what isn't acknowledged.
#[derive(Debug)]
pub struct Listening {
    batches: mpsc::UnboundedReceiver<MessageBatch>,
    /// The rest of a batch of which the caller has received only a part.
    remainder: Option<(VecDeque<Delivery>, tokio::sync::OwnedSemaphorePermit)>,
    registry: Registry,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Listening {
    /// Appends up to `max` messages of `received` to `batch`, and keeps the others.
    fn take(&mut self, received: MessageBatch, max: usize, batch: &mut Vec<Delivery>) {
        let MessageBatch {
            mut deliveries,
            permit,
        } = received;
        if deliveries.len() <= max {
            batch.append(&mut deliveries);
            return;
        }
        let mut remainder = VecDeque::from(deliveries);
        batch.extend(remainder.drain(..max));
        self.remainder = Some((remainder, permit));
    }
}

impl Source for Listening {
    const NAME: &'static str = "mqtt";
    type Ticket = Ticket;

    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery>,
    ) -> Result<usize, SessionEnded> {
        let (max, before) = (max.max(1), batch.len());
        if let Some((remainder, _)) = &mut self.remainder {
            batch.extend(remainder.drain(..max.min(remainder.len())));
            if remainder.is_empty() {
                self.remainder = None;
            }
        } else {
            let received = self.batches.recv().await.ok_or(SessionEnded)?;
            self.take(received, max, batch);
        }
        while batch.len() - before < max
            && let Ok(received) = self.batches.try_recv()
        {
            self.take(received, max - (batch.len() - before), batch);
        }
        Ok(batch.len() - before)
    }

    fn ack(&self, tickets: impl IntoIterator<Item = Ticket>) {
        // Consecutive tickets of a connection are handed to it together.
        let mut together = Vec::new();
        let mut connection = 0;
        for ticket in tickets {
            if ticket.packet_id == 0 {
                continue;
            }
            if ticket.connection != connection && !together.is_empty() {
                self.registry
                    .acknowledge(connection, std::mem::take(&mut together));
            }
            connection = ticket.connection;
            together.push(ticket);
        }
        if !together.is_empty() {
            self.registry.acknowledge(connection, together);
        }
    }

    async fn close(self) {
        let Self { task, stop, .. } = self;
        stop.disarm().cancel();
        if let Err(error) = task.await {
            tracing::error!(%error, "the task of the mqtt listener panicked");
        }
    }
}

impl PausableSource for Listening {
    fn connection(ticket: &Ticket) -> u64 {
        ticket.connection
    }

    fn pause(&self, connection: u64) {
        self.registry.command(connection, Command::Pause);
    }

    fn resume(&self, connection: u64) {
        self.registry.command(connection, Command::Resume);
    }
}
