//! What stands between two parts: it listens, connects on, and lets pieces through as the network
//! and a judge allow.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::connect_unspec;

use crate::net::localhost;
use crate::proxy::Direction;
use crate::pump::Pump;
use crate::wire::Network;

/// Says what becomes of each piece of a connection; may take its time.
type Judge = dyn Fn(&Link, Direction, &[u8]) -> Ruling + Send + Sync;

/// What becomes of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It goes on.
    Pass,
    /// It goes on; the connection is cut when its answer comes.
    PassUnanswered,
    /// It is dropped, and the connection is cut.
    Cut,
    /// It waits, and its connection with it, until all that wait are released.
    Hold,
}

/// A listener with its connections; all gone when it is dropped.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: Option<JoinHandle<()>>,
}

/// What all threads of a relay know.
pub(crate) struct Shared {
    sky: RwLock<Sky>,
    target: AtomicU16,
    pub(crate) judge: Box<Judge>,
    links: Mutex<Vec<Weak<Link>>>,
    opened: AtomicU64,
    pub(crate) cuts: AtomicU32,
    /// Pieces that were held, and have gone through after their release.
    pub(crate) late: AtomicU32,
    /// Bytes to the server, and to the client.
    pub(crate) forwarded: [AtomicU64; 2],
}

/// The network, until it changes.
pub(crate) struct Sky {
    pub(crate) network: Network,
    over: bool,
    /// Has its other end closed when the network changes: wakes everybody who waits on it.
    signal: Arc<UnixStream>,
    _until: UnixStream,
}

/// A connection through the relay.
pub(crate) struct Link {
    /// Counts from 0.
    pub(crate) number: u64,
    client: TcpStream,
    server: OnceLock<TcpStream>,
    /// It has been reset or cut: nothing more is to go through.
    dead: AtomicBool,
    /// It is in the dark, whatever the network.
    pub(crate) held: AtomicBool,
    /// A side has reset it, or is gone: it doesn't end in good order.
    pub(crate) broken: AtomicBool,
    /// The next answer is to be swallowed that comes after this time.
    pub(crate) swallow: Mutex<Option<Instant>>,
    /// The last bytes of the requests so far, for what a judge looks for across pieces.
    pub(crate) tail: Mutex<Vec<u8>>,
}

impl Relay {
    pub(crate) fn start(
        listen: SocketAddr,
        target: u16,
        judge: impl Fn(&Link, Direction, &[u8]) -> Ruling + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(listen).expect("a port to listen on");
        listener.set_nonblocking(true).expect("a socket's mode");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            sky: RwLock::new(Sky::new(Network::Ok, false)),
            target: AtomicU16::new(target),
            judge: Box::new(judge),
            links: Mutex::default(),
            opened: AtomicU64::new(0),
            cuts: AtomicU32::new(0),
            late: AtomicU32::new(0),
            forwarded: [AtomicU64::new(0), AtomicU64::new(0)],
        });
        let own = Arc::clone(&shared);
        let listening = Some(thread::spawn(move || own.listen(&listener)));
        Self {
            shared,
            address,
            listening,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// When this returns, every piece that isn't through yet meets the new network.
    pub(crate) fn set(&self, network: Network) {
        self.shared.change(network, false);
        if network == Network::Refused {
            self.shared.reset_all();
        }
    }

    pub(crate) fn retarget(&self, port: u16) {
        self.shared.target.store(port, Ordering::SeqCst);
    }

    pub(crate) fn reset_all(&self) {
        self.shared.reset_all();
    }

    pub(crate) fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// How many connections are held now.
    pub(crate) fn held(&self) -> usize {
        let links = lock(&self.shared.links);
        let open = links.iter().filter_map(Weak::upgrade);
        open.filter(|link| link.held.load(Ordering::SeqCst)).count()
    }

    /// What was held goes on, by the network.
    pub(crate) fn release(&self) {
        for link in lock(&self.shared.links).iter().filter_map(Weak::upgrade) {
            link.held.store(false, Ordering::SeqCst);
        }
        self.shared.wake();
    }

    pub(crate) fn late(&self) -> u32 {
        self.shared.late.load(Ordering::SeqCst)
    }

    pub(crate) fn cuts(&self) -> u32 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    pub(crate) fn forwarded(&self) -> (u64, u64) {
        let [requests, replies] = &self.shared.forwarded;
        (
            requests.load(Ordering::SeqCst),
            replies.load(Ordering::SeqCst),
        )
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Relay({})", self.address)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.change(Network::Refused, true);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        self.shared.reset_all();
    }
}

impl Shared {
    pub(crate) fn sky(&self) -> RwLockReadGuard<'_, Sky> {
        self.sky.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, network: Network, over: bool) {
        let mut sky = self.sky.write().unwrap_or_else(PoisonError::into_inner);
        *sky = Sky::new(network, over);
    }

    fn reset_all(&self) {
        for link in lock(&self.links).drain(..) {
            if let Some(link) = link.upgrade() {
                link.reset();
            }
        }
        self.wake();
    }

    /// The same network again: wakes those that don't look at their sockets now.
    fn wake(&self) {
        let mut sky = self.sky.write().unwrap_or_else(PoisonError::into_inner);
        *sky = Sky::new(sky.network, sky.over);
    }

    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let signal = {
                let sky = self.sky();
                if sky.over {
                    return;
                }
                Arc::clone(&sky.signal)
            };
            let (client, change) = (
                PollFd::new(listener, PollFlags::IN),
                PollFd::new(&*signal, PollFlags::IN),
            );
            let _ = poll(&mut [client, change], None);
            while let Ok((client, _)) = listener.accept() {
                self.admit(client);
            }
        }
    }

    /// Takes a new connection in, or closes it at once.
    fn admit(self: &Arc<Self>, client: TcpStream) {
        // Held to the end: a change to `Refused` meets this connection either here or in the list.
        let sky = self.sky();
        if sky.over || sky.network == Network::Refused {
            let _ = connect_unspec(&client);
            return;
        }
        let link = Arc::new(Link {
            number: self.opened.fetch_add(1, Ordering::SeqCst),
            client,
            server: OnceLock::new(),
            dead: AtomicBool::new(false),
            held: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            swallow: Mutex::default(),
            tail: Mutex::default(),
        });
        let mut links = lock(&self.links);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&link));
        let own = Arc::clone(self);
        thread::spawn(move || own.carry(&link));
    }

    /// Connects on and carries until the connection ends.
    fn carry(self: &Arc<Self>, link: &Arc<Link>) {
        // In the dark a connection isn't even opened at the other side: that might end it for
        // being idle.
        loop {
            let signal = {
                let sky = self.sky();
                if link.is_dead() || sky.network.lets_through(Direction::Request) {
                    break;
                }
                Arc::clone(&sky.signal)
            };
            let _ = poll(&mut [PollFd::new(&*signal, PollFlags::IN)], None);
        }
        let target = localhost(self.target.load(Ordering::SeqCst));
        if !link.is_dead() && !link.connect(target) {
            link.reset();
        }
        if link.is_dead() {
            // Once more: it may have been reset while it was connecting.
            link.reset();
            return;
        }
        let replies = (Arc::clone(self), Arc::clone(link));
        thread::spawn(move || Pump::new(&replies.0, &replies.1, Direction::Reply).run());
        Pump::new(self, link, Direction::Request).run();
    }
}

impl Sky {
    fn new(network: Network, over: bool) -> Self {
        let (signal, until) = UnixStream::pair().expect("a pair of sockets");
        Self {
            network,
            over,
            signal: Arc::new(signal),
            _until: until,
        }
    }

    pub(crate) fn signal(&self) -> Arc<UnixStream> {
        Arc::clone(&self.signal)
    }
}

impl Link {
    fn connect(&self, target: SocketAddr) -> bool {
        let Ok(server) = TcpStream::connect(target) else {
            return false;
        };
        for side in [&self.client, &server] {
            let ready = side.set_nodelay(true).and(side.set_nonblocking(true));
            if ready.is_err() {
                return false;
            }
        }
        self.server.set(server).is_ok()
    }

    /// The socket that this direction reads from, and the one that it writes to.
    pub(crate) fn ends(&self, direction: Direction) -> Option<(&TcpStream, &TcpStream)> {
        let server = self.server.get()?;
        Some(match direction {
            Direction::Request => (&self.client, server),
            Direction::Reply => (server, &self.client),
        })
    }

    /// What the network is for this connection.
    pub(crate) fn network(&self, sky: &Sky) -> Network {
        if self.held.load(Ordering::SeqCst) {
            Network::BlackHole
        } else {
            sky.network
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Whether an answer that came then is to be swallowed.
    pub(crate) fn swallows(&self, came: Instant) -> bool {
        lock(&self.swallow).is_some_and(|since| came >= since)
    }

    /// Both sides find it reset (RST) at once, whoever holds its sockets.
    pub(crate) fn reset(&self) {
        self.dead.store(true, Ordering::SeqCst);
        for side in [Some(&self.client), self.server.get()]
            .into_iter()
            .flatten()
        {
            // Fails for one that is closed already.
            let _ = connect_unspec(side);
        }
    }

    /// The client finds it reset; the server finds its end, after all that has gone through.
    pub(crate) fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
        let _ = connect_unspec(&self.client);
        if let Some(server) = self.server.get() {
            let _ = server.shutdown(Shutdown::Write);
        }
    }
}

/// Any address of this machine's.
pub(crate) fn at(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
