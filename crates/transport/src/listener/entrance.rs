//! Where connections come in.

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

use super::session;
use super::shared::Shared;

/// Time for all connections to end in.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// After an error of the system it is let alone for so long.
const PAUSE: Duration = Duration::from_millis(250);
/// Who can't be let in for so long doesn't try any more.
const FINE_AFTER: Duration = Duration::from_secs(2);
/// A connection that is silent for this long is asked for a sign of life, by the system.
const PROBE_AFTER: Duration = Duration::from_mins(1);
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// What the task that lets clients in works on.
pub(crate) struct Entrance {
    pub(crate) socket: Arc<TcpListener>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) connections: Arc<AtomicU64>,
    pub(crate) max_connections: usize,
    pub(crate) dependency: Dependency,
    pub(crate) stop: CancellationToken,
}

impl Entrance {
    /// Lets clients in until it is stopped, and ends their connections then.
    pub(crate) async fn run(self) {
        let mut tasks = JoinSet::new();
        let open = gauge!(MQTT_CONNECTIONS);
        self.dependency.up();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(ended) = tasks.join_next() => show(ended),
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        self.dependency.up();
                        self.admit(&mut tasks, stream, peer, &open);
                    }
                    Err(error) => self.trouble(&error, &mut tasks, &open).await,
                },
            }
        }
        self.shared.registry.close();
        let all_ended = async {
            while let Some(ended) = tasks.join_next().await {
                show(ended);
            }
        };
        if timeout(CLOSE_TIMEOUT, all_ended).await.is_err() {
            tasks.shutdown().await;
        }
    }

    fn admit(&self, tasks: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr, open: &Gauge) {
        if tasks.len() >= self.max_connections {
            return self.shared.full(peer, self.max_connections);
        }
        if let Err(error) = set_up(&stream) {
            tracing::debug!(%peer, %error, "a connection broke at once");
            return;
        }
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let counted = Counted::new(open.clone());
        let session = session::run(self.shared.clone(), stream, peer, number, self.stop.clone());
        tasks.spawn(async move {
            session.await;
            drop(counted);
        });
    }

    /// Nobody can be let in, or this one is gone already: a little patience, and the next one.
    async fn trouble(&self, error: &io::Error, tasks: &mut JoinSet<()>, open: &Gauge) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionReset | Interrupted
        ) {
            return;
        }
        self.dependency.down(&format_args!(
            "no new connection can be let in: {error}; those that are open go on"
        ));
        let mut next = None;
        let fine = async {
            sleep(PAUSE).await;
            // Somebody waits at the door if this is about more than one client.
            match timeout(FINE_AFTER, self.socket.accept()).await {
                Ok(Ok(accepted)) => next = Some(accepted),
                Ok(Err(_)) => return false,
                Err(_) => {}
            }
            true
        };
        let is_fine = tokio::select! {
            () = self.stop.cancelled() => return,
            is_fine = fine => is_fine,
        };
        if is_fine {
            self.dependency.up();
        }
        if let Some((stream, peer)) = next {
            self.admit(tasks, stream, peer, open);
        }
    }
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A device that is switched off says nothing, and without a keep-alive of MQTT nobody asks.
    let keep_alive = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&keep_alive)
}

fn show(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of an mqtt connection ended badly");
    }
}

/// A connection in the gauge.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
