//! A TCP proxy that simulates network conditions and faults.

mod connection;
mod network;
mod plans;
mod state;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::net::connect_unspec;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::LocalSet;

use self::connection::serve;
pub use self::network::{Action, Direction, Network};
use self::plans::Plans;
use self::state::{Shared, State};
use crate::net::localhost;

/// A running proxy; it and its connections end when it is dropped.
pub struct TcpProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: Option<JoinHandle<()>>,
}

impl TcpProxy {
    /// Forwards connections to `target` of 127.0.0.1, from a free port there.
    #[must_use]
    pub fn start(target: u16) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, 0, target)
    }

    /// As [`start`](Self::start), at a given address and port. Port 0 is a free one.
    #[must_use]
    pub fn start_at(ip: Ipv4Addr, port: u16, target: u16) -> Self {
        Self::new(SocketAddr::from((ip, port)), target, |_, _, _| Action::Pass)
    }

    /// As [`start`](Self::start); `handler` decides about each piece of a stream. It gets the
    /// connection's number, counted from 0, and must not block.
    #[must_use]
    pub fn start_with_handler(
        target: u16,
        handler: impl Fn(u64, Direction, &[u8]) -> Action + Send + Sync + 'static,
    ) -> Self {
        Self::new(localhost(0), target, handler)
    }

    fn new(
        listen: SocketAddr,
        target: u16,
        handler: impl Fn(u64, Direction, &[u8]) -> Action + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(listen).expect("a port to listen on");
        listener.set_nonblocking(true).expect("a socket's mode");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            state: watch::Sender::new(State {
                target,
                ..State::default()
            }),
            handler: Box::new(handler),
        });
        let own = Arc::clone(&shared);
        let listening = thread::spawn(move || serve_all(&own, listener));
        Self {
            shared,
            address,
            listening: Some(listening),
        }
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes the network's condition. When this returns, the new condition holds for everything that
    /// isn't forwarded yet.
    pub fn set_network(&self, network: Network) {
        self.shared.state.send_modify(|state| {
            state.network = network;
            if network == Network::Refused {
                state.reset_all();
            }
        });
    }

    /// Forwards new connections to another port of 127.0.0.1.
    pub fn retarget(&self, port: u16) {
        self.shared.update(|state| state.target = port);
    }

    /// Resets all open connections; new ones are accepted.
    pub fn reset_connections(&self) {
        self.shared.state.send_modify(State::reset_all);
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.state.borrow().accepted
    }

    /// How many bytes of requests and of replies were forwarded.
    #[must_use]
    pub fn forwarded_bytes(&self) -> (u64, u64) {
        let state = self.shared.state.borrow();
        (state.forwarded_requests, state.forwarded_replies)
    }

    /// Forwards the next `times` requests with `marker`, and cuts each one's connection when the
    /// server's next reply arrives: the server has carried the request out, the client doesn't know.
    ///
    /// With several requests in flight on a connection, the next reply may answer an earlier one.
    pub fn cut_reply(&self, marker: &'static str, times: u32) {
        self.plan(marker, Action::PassThenCutReply, times);
    }

    /// Drops the next `times` pieces of requests with `marker` and cuts their connections: the server
    /// doesn't receive them.
    pub fn cut_request(&self, marker: &'static str, times: u32) {
        self.plan(marker, Action::Cut, times);
    }

    /// Holds the next `times` pieces of requests with `marker` and their connections, as in a
    /// [`BlackHole`](Network::BlackHole), while other connections go on.
    pub fn hold_request(&self, marker: &'static str, times: u32) {
        self.plan(marker, Action::Hold, times);
    }

    fn plan(&self, marker: &'static str, action: Action, times: u32) {
        self.shared
            .update(|state| state.plans.add(marker, action, times));
    }

    /// How many planned cuts and holds are left.
    #[must_use]
    pub fn remaining_plans(&self) -> u32 {
        self.shared.state.borrow().plans.remaining()
    }

    /// Cancels all planned cuts and holds.
    pub fn cancel_plans(&self) {
        self.shared.update(|state| state.plans = Plans::default());
    }

    /// How many connections were cut so far.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.shared.state.borrow().cuts
    }

    /// How many connections are held now.
    #[must_use]
    pub fn held_connections(&self) -> usize {
        self.shared.state.borrow().held
    }

    /// Releases all held connections.
    pub fn release_held(&self) {
        self.shared.state.send_modify(|state| {
            state.releases += 1;
            state.held = 0;
        });
    }

    /// How many pieces of requests were held, and have been forwarded since.
    #[must_use]
    pub fn late_requests(&self) -> u32 {
        self.shared.state.borrow().late
    }
}

impl std::fmt::Debug for TcpProxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TcpProxy({})", self.address)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.shared.state.send_modify(|state| state.stopped = true);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

/// Serves connections until the proxy stops and all of them are reset.
fn serve_all(shared: &Arc<Shared>, listener: std::net::TcpListener) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let connections = LocalSet::new();
    connections.block_on(&runtime, async {
        let listener = TcpListener::from_std(listener).expect("a listener");
        let mut changes = shared.state.subscribe();
        while !shared.state.borrow().stopped {
            tokio::select! {
                _ = changes.changed() => {}
                Ok((client, _)) = listener.accept() => {
                    let number = shared.update(|state| {
                        let is_refused = state.stopped || state.network == Network::Refused;
                        state.accepted += u64::from(!is_refused);
                        (!is_refused).then(|| state.accepted - 1)
                    });
                    match number {
                        Some(number) => {
                            tokio::task::spawn_local(serve(Arc::clone(shared), number, client));
                        }
                        None => drop(connect_unspec(&client)),
                    }
                }
            }
        }
    });
    runtime.block_on(connections);
}
