//! The listener with TLS.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use common::tls::{self, ServerTls};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

/// How long a client may take for the handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at the same time; further connections wait in the system's queue.
const HANDSHAKES: usize = 256;
/// The wait after the system refused to accept a connection, for instance for want of file descriptors.
const ACCEPT_WAIT: Duration = Duration::from_secs(1);

type Accepted = (TlsStream<TcpStream>, SocketAddr);

/// Hands over connections whose handshake is done, so that a slow client holds up no other.
#[derive(Debug)]
pub(crate) struct TlsListener {
    accepted: mpsc::Receiver<Accepted>,
    addr: SocketAddr,
    _task: JoinSet<Infallible>,
}

impl TlsListener {
    /// Starts to accept connections. The certificate is read again at each `reload`.
    pub(crate) fn start(
        listener: TcpListener,
        addr: SocketAddr,
        tls: ServerTls,
        reload: Arc<Notify>,
    ) -> Self {
        let (sender, accepted) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, tls, reload, sender));
        Self {
            accepted,
            addr,
            _task: task,
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: ServerTls,
    reload: Arc<Notify>,
    accepted: mpsc::Sender<Accepted>,
) -> Infallible {
    let free = Arc::new(Semaphore::new(HANDSHAKES));
    let mut handshakes = JoinSet::new();
    let mut signal = pin!(reload.notified());
    loop {
        let connection = tokio::select! {
            () = signal.as_mut() => {
                // Before the files are read: a signal that comes meanwhile counts.
                signal.set(reload.notified());
                tls.reload();
                continue;
            }
            Some(_) = handshakes.join_next() => continue,
            connection = next(&listener, &free) => connection,
        };
        let ((stream, from), permit) = match connection {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection over TLS");
                sleep(ACCEPT_WAIT).await;
                continue;
            }
        };
        let (tls, accepted) = (tls.clone(), accepted.clone());
        handshakes.spawn(async move {
            let handshake = timeout(HANDSHAKE_LIMIT, tls.acceptor().accept(stream)).await;
            drop(permit);
            match handshake {
                // Fails only when the server has ended.
                Ok(Ok(stream)) => drop(accepted.send((stream, from)).await),
                Ok(Err(error)) if tls::is_not_tls(&error) => {
                    tracing::debug!(%from, "a client doesn't use https");
                }
                Ok(Err(error)) => tracing::debug!(%from, %error, "no TLS with a client"),
                Err(_) => {
                    tracing::debug!(%from, "a client doesn't end the TLS handshake");
                }
            }
        });
    }
}

/// Accepts a connection once a handshake may begin. Cancel-safe.
async fn next(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> io::Result<((TcpStream, SocketAddr), OwnedSemaphorePermit)> {
    let permit = free.clone().acquire_owned().await;
    let permit = permit.map_err(io::Error::other)?;
    Ok((listener.accept().await?, permit))
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The task doesn't end.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}
