//! A listener that devices publish to, in place of a broker.
//!
//! Each connection has a task, which reads what is there in one go, takes it apart, and hands all
//! messages of that read over at once. Their acknowledgements come back the same way: those of a
//! connection in one piece, which its task writes in one go.

mod budget;
mod burst;
mod clocks;
mod connect;
mod cursor;
mod entrance;
mod fault;
mod handshake;
mod inbound;
mod outbound;
mod packet;
mod passwords;
mod properties;
mod rarely;
mod registry;
mod reply;
mod session;
mod settings;
mod shared;
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

use self::burst::Burst;
use self::registry::Registry;
use self::shared::{Door, Shared};
use crate::source::{Delivery, SessionEnded, Source, Ticket};

pub use passwords::{PasswordError, hash_password};
pub use settings::ListenSettings;

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A setting that can't be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// Something else listens there.
    #[error(
        "something else listens at {0}: stop it, or set another MQTT_LISTEN (--mqtt-listen \
         127.0.0.1:1884)"
    )]
    InUse(SocketAddr),
    /// The system doesn't allow it.
    #[error("can't listen at {address} (MQTT_LISTEN): {error}")]
    Io {
        /// The address that was tried.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

/// An address that devices can connect to; nobody is let in before [`start`](Self::start).
#[derive(Debug)]
pub struct Listener {
    socket: Arc<TcpListener>,
    address: SocketAddr,
    door: Door,
    max_packet: usize,
    max_connections: usize,
    /// Numbers of connections: a ticket of before a restart must not fit one of after it.
    connections: Arc<AtomicU64>,
}

impl Listener {
    /// Opens the socket. Needs a tokio runtime around it.
    pub async fn bind(settings: &ListenSettings) -> Result<Self, BindError> {
        let door = settings.door()?;
        let address = settings.mqtt_listen;
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address),
            _ => BindError::Io { address, error },
        };
        let socket = TcpListener::bind(address).await.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Self {
            socket: Arc::new(socket),
            address,
            door,
            max_packet: settings.mqtt_max_packet,
            max_connections: settings.mqtt_max_connections,
            connections: Arc::default(),
        })
    }

    /// Where it listens: with the port that the system chose, if it was to choose one.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients in; `dependency` is up while it does. Can be called again once the earlier
    /// [`Listening`] was closed.
    #[must_use]
    pub fn start(&self, dependency: Dependency) -> Listening {
        let (bursts, receiver) = mpsc::unbounded_channel();
        let registry = Registry::default();
        let shared = Shared::new(self.max_packet, self.door.clone(), registry.clone(), bursts);
        let stop = CancellationToken::new();
        let entrance = entrance::Entrance {
            socket: self.socket.clone(),
            shared: Arc::new(shared),
            connections: self.connections.clone(),
            max_connections: self.max_connections,
            dependency,
            stop: stop.clone(),
        };
        Listening {
            bursts: receiver,
            first: None,
            registry,
            task: tokio::spawn(entrance.run()),
            stop: stop.drop_guard(),
        }
    }
}

/// A listener at work.
///
/// Who stops receiving for long stops the reading from the network once about 20,000 messages wait,
/// or 64 MiB of messages are kept, those that were received and not dropped included. Acknowledgements
/// go on. Whatever isn't acknowledged when a connection ends is the device's to send again.
#[derive(Debug)]
pub struct Listening {
    bursts: mpsc::UnboundedReceiver<Burst>,
    /// What is left of the burst that was received in part.
    first: Option<(VecDeque<Delivery>, tokio::sync::OwnedSemaphorePermit)>,
    registry: Registry,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Listening {
    /// Moves up to `max` messages; how many.
    fn take(&mut self, burst: Burst, max: usize, batch: &mut Vec<Delivery>) -> usize {
        let Burst {
            mut deliveries,
            slots,
        } = burst;
        if deliveries.len() <= max {
            let taken = deliveries.len();
            batch.append(&mut deliveries);
            return taken;
        }
        let mut left = VecDeque::from(deliveries);
        batch.extend(left.drain(..max));
        self.first = Some((left, slots));
        max
    }
}

impl Source for Listening {
    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery>,
    ) -> Result<usize, SessionEnded> {
        let (max, before) = (max.max(1), batch.len());
        if let Some((left, _)) = &mut self.first {
            batch.extend(left.drain(..max.min(left.len())));
            if left.is_empty() {
                self.first = None;
            }
        } else {
            let burst = self.bursts.recv().await.ok_or(SessionEnded)?;
            self.take(burst, max, batch);
        }
        while batch.len() - before < max
            && let Ok(burst) = self.bursts.try_recv()
        {
            self.take(burst, max - (batch.len() - before), batch);
        }
        Ok(batch.len() - before)
    }

    fn ack(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let mut run = Vec::new();
        let mut connection = 0;
        for ticket in tickets {
            if ticket.packet_id == 0 {
                continue;
            }
            if ticket.connection != connection && !run.is_empty() {
                self.registry
                    .acknowledge(connection, std::mem::take(&mut run));
            }
            connection = ticket.connection;
            run.push(ticket.packet_id);
        }
        if !run.is_empty() {
            self.registry.acknowledge(connection, run);
        }
    }

    async fn close(self) {
        let Self { task, stop, .. } = self;
        stop.disarm().cancel();
        if let Err(error) = task.await {
            tracing::error!(%error, "the task of the mqtt listener ended badly");
        }
    }
}
