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
mod certificate;
pub(crate) mod codec;
mod connection;
mod endpoint;
mod handshake;
mod limits;
mod mismatch;
mod rate;
mod reason;
mod registry;
mod report;
mod settings;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod websocket;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::health::Dependency;
use common::settings::BadSetting;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::accept::AcceptLoop;
use self::admission::{Admission, ConnectionLimits};
use self::auth::{AccessPolicy, Authenticator};
use self::connection::MessageBatch;
use self::endpoint::Endpoint;
use self::limits::MemoryLimits;
use self::mismatch::Ports;
use self::rate::RateLimits;
use self::registry::{Command, Registry};
use self::report::Reporter;
use self::settings::{Plan, Wanted};
use crate::source::{Delivery, PausableSource, SessionEnded, Source, Ticket};

pub use auth::{PasswordError, hash_password};
pub use settings::{ListenSettings, SocketSettings};

/// Why the listener can't listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An invalid setting.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// Another process listens at the address.
    #[error("something else listens at {address}: stop it, or set another {setting} ({})", option(setting, *address))]
    InUse {
        /// The address that was tried.
        address: SocketAddr,
        /// The setting that it is from.
        setting: &'static str,
    },
    /// Any other error of the system.
    #[error("can't listen at {address} ({setting}): {error}")]
    Io {
        /// The address that was tried.
        address: SocketAddr,
        /// The setting that it is from.
        setting: &'static str,
        /// The system's error.
        error: io::Error,
    },
}

/// The option for a setting, with the port behind the one that is in use.
fn option(setting: &str, address: SocketAddr) -> String {
    let name = setting.to_ascii_lowercase().replace('_', "-");
    let port = address.port().saturating_add(1);
    format!("--{name} 127.0.0.1:{port}")
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
    rates: Arc<RateLimits>,
    /// `MQTT_MAX_CONNECTIONS_PER_USER`
    max_of_user: Option<usize>,
    ports: Ports,
    reporter: Reporter,
}

/// An open socket.
#[derive(Debug)]
struct Socket {
    tcp: Arc<TcpListener>,
    address: SocketAddr,
    endpoint: Arc<Endpoint>,
}

/// Addresses that devices can connect to. No client is accepted before [`start`](Self::start).
#[derive(Debug)]
pub struct Listener {
    /// The first one is for plain MQTT.
    sockets: Vec<Socket>,
    ports: Ports,
    access_policy: AccessPolicy,
    max_packet: usize,
    connection_limits: ConnectionLimits,
    rates: Arc<RateLimits>,
    max_of_user: Option<usize>,
    /// The number of the last connection. It is kept over calls of [`start`](Self::start): an old
    /// ticket must not match a new connection.
    last_connection: Arc<AtomicU64>,
}

impl Listener {
    /// Opens the sockets. Needs a tokio runtime around it.
    pub async fn bind(settings: &ListenSettings) -> Result<Self, BindError> {
        let Plan {
            access_policy,
            sockets: wanted,
        } = settings.plan()?;
        let (mut sockets, mut ports) = (Vec::new(), Ports::default());
        for one in wanted {
            let socket = Socket::open(&one).await?;
            let (endpoint, address) = (one.endpoint, Some(socket.address));
            match (endpoint.tls.is_some(), endpoint.web_socket.is_some()) {
                (false, false) => ports.mqtt = address,
                (true, false) => ports.tls = address,
                (false, true) => ports.web_socket = address,
                (true, true) => ports.web_socket_tls = address,
            }
            sockets.push(Socket {
                endpoint: Arc::new(endpoint),
                ..socket
            });
        }
        Ok(Self {
            sockets,
            ports,
            access_policy,
            max_packet: settings.mqtt_max_packet,
            connection_limits: settings.connection_limits(),
            rates: Arc::new(settings.rates()),
            max_of_user: settings.mqtt_max_connections_per_user,
            last_connection: Arc::default(),
        })
    }

    /// The address for plain MQTT, with the port that the system has chosen if the setting was port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        let unset = || SocketAddr::from(([0, 0, 0, 0], 0));
        self.ports.mqtt.unwrap_or_else(unset)
    }

    /// The address for MQTT with TLS.
    #[must_use]
    pub const fn tls_addr(&self) -> Option<SocketAddr> {
        self.ports.tls
    }

    /// The address for MQTT over WebSocket.
    #[must_use]
    pub const fn web_socket_addr(&self) -> Option<SocketAddr> {
        self.ports.web_socket
    }

    /// The address for MQTT over WebSocket with TLS.
    #[must_use]
    pub const fn web_socket_tls_addr(&self) -> Option<SocketAddr> {
        self.ports.web_socket_tls
    }

    /// A function that reads the password file, the rule file and the certificate again. Open connections stay,
    /// and new rules apply to them.
    pub fn reload(&self) -> impl Fn() + Send + 'static {
        let AccessPolicy { users, acl, .. } = self.access_policy.clone();
        let mut endpoints = self.sockets.iter().map(|socket| &socket.endpoint);
        // The endpoints share one certificate.
        let tls = endpoints.find_map(|one| one.tls.clone());
        move || {
            if let Some(tls) = &tls {
                tls.reload();
            }
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
    pub fn start(&self, dependency: &Dependency) -> Listening {
        let (sender, batches) = mpsc::unbounded_channel();
        let registry = Registry::default();
        let shared = Shared {
            max_packet: self.max_packet,
            limits: MemoryLimits::new(self.max_packet),
            registry: registry.clone(),
            batches: sender,
            authenticator: Authenticator::new(self.access_policy.clone()),
            rates: self.rates.clone(),
            max_of_user: self.max_of_user,
            ports: self.ports,
            reporter: Reporter::default(),
        };
        let stop = CancellationToken::new();
        let (shared, admission) = (Arc::new(shared), Admission::new(self.connection_limits));
        let mut loops = JoinSet::new();
        for Socket { tcp, endpoint, .. } in &self.sockets {
            let accept_loop = AcceptLoop {
                socket: tcp.clone(),
                endpoint: endpoint.clone(),
                shared: shared.clone(),
                last_connection: self.last_connection.clone(),
                admission: admission.clone(),
                dependency: dependency.clone(),
                stop: stop.clone(),
            };
            loops.spawn(accept_loop.run());
        }
        let of_loops = stop.clone();
        Listening {
            batches,
            remainder: None,
            registry,
            task: tokio::spawn(run_all(loops, of_loops)),
            stop: stop.drop_guard(),
        }
    }
}

impl Socket {
    async fn open(wanted: &Wanted) -> Result<Self, BindError> {
        let (address, setting) = (wanted.address, wanted.setting);
        let bind_error = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address, setting },
            _ => BindError::Io {
                address,
                setting,
                error,
            },
        };
        let socket = TcpListener::bind(address).await.map_err(bind_error)?;
        Ok(Self {
            address: socket.local_addr().map_err(bind_error)?,
            tcp: Arc::new(socket),
            endpoint: Arc::default(),
        })
    }
}

/// Waits for the end of all. If one panics, the others are stopped.
async fn run_all(mut loops: JoinSet<()>, stop: CancellationToken) {
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "the task of the mqtt listener panicked");
            stop.cancel();
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
