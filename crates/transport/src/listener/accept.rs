//! Accepts connections, and starts a task for each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::health::Dependency;
use common::metric::MQTT_CONNECTIONS;
use metrics::{Gauge, gauge};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::admission::{Admission, Admitted};
use super::connection::Incomplete;
use super::endpoint::Endpoint;

/// Time for all connections to end in.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after an error, before the next connection is accepted.
const ERROR_PAUSE: Duration = Duration::from_millis(250);
/// Accepting counts as recovered after this long without an error.
const RECOVERED_AFTER: Duration = Duration::from_secs(2);
/// A connection without traffic is probed by TCP keep-alive after this long.
const PROBE_AFTER: Duration = Duration::from_mins(1);
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// The task that accepts connections.
pub(crate) struct AcceptLoop {
    pub(crate) socket: Arc<TcpListener>,
    /// What is spoken at the socket's address.
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) shared: Arc<Shared>,
    /// The number of the last connection that was accepted.
    pub(crate) last_connection: Arc<AtomicU64>,
    pub(crate) admission: Admission,
    pub(crate) dependency: Dependency,
    pub(crate) stop: CancellationToken,
}

impl AcceptLoop {
    /// Accepts connections until it is stopped, and then ends them.
    pub(crate) async fn run(self) {
        let mut tasks = JoinSet::new();
        let open_connections = gauge!(MQTT_CONNECTIONS);
        self.dependency.up();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(ended) = tasks.join_next() => log_panic(ended),
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        self.dependency.up();
                        self.start(&mut tasks, stream, peer, &open_connections);
                    }
                    Err(error) => self.recover(&error, &mut tasks, &open_connections).await,
                },
            }
        }
        self.shared.registry.close();
        let all_ended = async {
            while let Some(ended) = tasks.join_next().await {
                log_panic(ended);
            }
        };
        if timeout(CLOSE_TIMEOUT, all_ended).await.is_err() {
            tasks.shutdown().await;
        }
    }

    /// Starts the task of a connection, unless too many are open.
    fn start(&self, tasks: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr, open: &Gauge) {
        let reporter = &self.shared.reporter;
        let number = self.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
        let Admitted { slot, evicted } = match self.admission.admit(peer.ip(), number) {
            Ok(admitted) => admitted,
            Err(limit) => return reporter.connection_refused(peer.ip(), limit),
        };
        if let Some((address, limit)) = evicted {
            reporter.connection_evicted(address, limit);
        }
        if let Err(error) = set_options(&stream) {
            tracing::debug!(%peer, %error, "a new connection broke");
            return;
        }
        let open = OpenConnection::new(open.clone());
        let connection = Incomplete {
            shared: self.shared.clone(),
            endpoint: self.endpoint.clone(),
            peer,
            slot,
            stop: self.stop.clone(),
        };
        tasks.spawn(async move {
            connection.run(stream).await;
            drop(open);
        });
    }

    /// Handles an error of `accept`. Reports the dependency as down unless only this one connection
    /// broke, and as up again once the next one is accepted, or none has failed for a while.
    async fn recover(&self, error: &io::Error, tasks: &mut JoinSet<()>, open: &Gauge) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionReset | Interrupted
        ) {
            return;
        }
        self.dependency.down(&format_args!(
            "can't accept new connections: {error}; open connections are still served"
        ));
        let mut next = None;
        let recovered = async {
            sleep(ERROR_PAUSE).await;
            // If the error was about more than one connection, the next one fails, too.
            match timeout(RECOVERED_AFTER, self.socket.accept()).await {
                Ok(Ok(accepted)) => next = Some(accepted),
                Ok(Err(_)) => return false,
                Err(_) => {}
            }
            true
        };
        let has_recovered = tokio::select! {
            () = self.stop.cancelled() => return,
            has_recovered = recovered => has_recovered,
        };
        if has_recovered {
            self.dependency.up();
        }
        if let Some((stream, peer)) = next {
            self.start(tasks, stream, peer, open);
        }
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A device that is switched off closes no connection, and its MQTT keep-alive may be off.
    let keep_alive = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keep_alive)
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of an mqtt connection panicked");
    }
}

/// Counts a connection in the gauge until it is dropped.
struct OpenConnection(Gauge);

impl OpenConnection {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
