//! One connection through the proxy.

use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, connect_unspec, shutdown};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::network::{Action, Direction, Network};
use super::plans::extend_tail;
use super::state::{Shared, State};
use crate::net::localhost;

/// The largest piece.
const PIECE: usize = 256 * 1024;
/// The most that a delayed direction buffers before it stops the sender, as TCP does.
const BUFFER_LIMIT: usize = 64 * 1024 * 1024;
/// Throttled bytes are forwarded in at least this many portions a second.
const PORTIONS_PER_SECOND: u64 = 50;
/// How long a server may take to close a connection that was cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

struct Connection {
    shared: Arc<Shared>,
    /// Counts from 0.
    number: u64,
    client: TcpStream,
    server: OnceCell<TcpStream>,
    /// Held until the number of releases is another one.
    held_at: Cell<Option<u64>>,
    /// One side was reset, so that the other is reset instead of closed.
    broken: Cell<bool>,
    /// Every reply that arrives from now on is cut.
    cuts_reply: Cell<bool>,
}

/// Why a connection, or a direction of it, ends early.
enum End {
    Reset,
    Cut,
    /// The receiver is gone. The other direction ends once the network lets it.
    Broken,
}

/// Connects to the server and forwards until the connection ends.
pub(super) async fn serve(shared: Arc<Shared>, number: u64, client: TcpStream) {
    let mut changes = shared.state.subscribe();
    let connection = Connection {
        shared,
        number,
        client,
        server: OnceCell::new(),
        held_at: Cell::new(None),
        broken: Cell::new(false),
        cuts_reply: Cell::new(false),
    };
    let ended = tokio::select! {
        _ = changes.wait_for(|state| connection.is_reset(state)) => Err(End::Reset),
        ended = connection.forward() => ended,
    };
    if ended.is_err() {
        // Both sides find it reset (RST) at once. Fails on a socket that is closed already.
        let _ = connect_unspec(&connection.client);
        let _ = connection.server.get().map(connect_unspec);
    }
}

impl Connection {
    async fn forward(&self) -> Result<(), End> {
        // In a black hole the connection isn't opened at the server, which might close it as idle.
        let mut changes = self.shared.state.subscribe();
        let passes = |state: &State| state.network.passes(Direction::Request);
        let target = changes.wait_for(passes).await.map(|state| state.target);
        let target = localhost(target.map_err(|_| End::Reset)?);
        let connected = TcpStream::connect(target).await.and_then(|server| {
            self.client.set_nodelay(true)?;
            server.set_nodelay(true).map(|()| server)
        });
        let server = connected.map_err(|_| End::Reset)?;
        let server = self.server.get_or_init(|| server);
        let requests = Half::new(self, Direction::Request, &self.client, server);
        let replies = Half::new(self, Direction::Reply, server, &self.client);
        match tokio::try_join!(requests.run(), replies.run()) {
            Err(End::Cut) => self.cut(server).await,
            ended => return ended.map(|_| ()),
        }
        Ok(())
    }

    /// The client is reset; the server reads end of file after everything that was forwarded.
    async fn cut(&self, server: &TcpStream) {
        // Counted first: a client that was reset finds the cut counted.
        self.shared.update(|state| state.cuts += 1);
        let _ = connect_unspec(&self.client);
        let _ = shutdown(server, Shutdown::Write);
        // Closing with unread replies would reset it, and the server would lose requests that it hasn't
        // read yet.
        let drain = async {
            let mut buffer = [0; 4096];
            while server.readable().await.is_ok() {
                match server.try_read(&mut buffer) {
                    Ok(count) if count > 0 => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    _ => return,
                }
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, drain).await;
    }

    fn is_reset(&self, state: &State) -> bool {
        state.stopped || self.number < state.reset_below
    }

    /// The network's condition for this connection.
    fn network(&self, state: &State) -> Network {
        if self.held_at.get() == Some(state.releases) || self.is_reset(state) {
            Network::BlackHole
        } else {
            state.network
        }
    }
}

/// One direction of a connection.
struct Half<'a> {
    connection: &'a Connection,
    direction: Direction,
    from: &'a TcpStream,
    to: &'a TcpStream,
    changes: watch::Receiver<State>,
    pieces: VecDeque<Piece>,
    buffered: usize,
    /// When the sender closed its side.
    ended: Option<Instant>,
    /// When a throttled direction may forward its next portion.
    next_portion: Instant,
    /// The last bytes, since a marker may span two pieces.
    tail: Vec<u8>,
}

struct Piece {
    arrived: Instant,
    bytes: Vec<u8>,
    cut: bool,
}

impl<'a> Half<'a> {
    fn new(
        connection: &'a Connection,
        direction: Direction,
        from: &'a TcpStream,
        to: &'a TcpStream,
    ) -> Self {
        Self {
            connection,
            direction,
            from,
            to,
            changes: connection.shared.state.subscribe(),
            pieces: VecDeque::new(),
            buffered: 0,
            ended: None,
            next_portion: Instant::now(),
            tail: Vec::new(),
        }
    }

    async fn run(mut self) -> Result<(), End> {
        let mut buffer = vec![0; PIECE];
        loop {
            // Before anything is checked, so that no change is missed.
            self.changes.mark_unchanged();
            let network = self.connection.network(&self.changes.borrow());
            let arrived = self.pieces.front().map(|piece| piece.arrived);
            let due = arrived
                .or(self.ended)
                .and_then(|arrived| self.due(network, arrived));
            // In a black hole the bytes stay in the kernel, whose buffers then stop the sender.
            let has_space = match network {
                Network::Delay(_) => self.buffered < BUFFER_LIMIT,
                _ => self.pieces.is_empty(),
            };
            let reads = self.ended.is_none() && has_space && network.passes(self.direction);
            tokio::select! {
                _ = self.changes.changed() => {}
                () = at(due) => match self.pieces.pop_front() {
                    Some(piece) => match self.forward(piece).await {
                        Err(End::Broken) => return Ok(()),
                        forwarded => forwarded?,
                    },
                    None if self.connection.broken.get() => return Err(End::Reset),
                    None => {
                        let _ = shutdown(self.to, Shutdown::Write);
                        return Ok(());
                    }
                },
                _ = self.from.readable(), if reads => self.read(&mut buffer),
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) {
        match self.from.try_read(buffer) {
            Ok(count) if count > 0 => {
                self.buffered += count;
                self.pieces.push_back(Piece {
                    arrived: Instant::now(),
                    bytes: buffer[..count].to_vec(),
                    cut: self.direction == Direction::Reply && self.connection.cuts_reply.get(),
                });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            ended => {
                if ended.is_err() {
                    self.connection.broken.set(true);
                }
                self.ended = Some(Instant::now());
            }
        }
    }

    async fn forward(&mut self, piece: Piece) -> Result<(), End> {
        let connection = self.connection;
        let action = self.decide(&piece);
        if action == Action::Cut {
            return Err(End::Cut);
        }
        if action == Action::Hold {
            connection.shared.update(|state| {
                if !connection.is_reset(state) {
                    connection.held_at.set(Some(state.releases));
                    state.held += 1;
                }
            });
        }
        let mut rest = &piece.bytes[..];
        while !rest.is_empty() {
            self.changes.mark_unchanged();
            let (due, written) = self.write(rest, piece.arrived);
            match written {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let is_full = due.is_some_and(|due| due <= Instant::now());
                    tokio::select! {
                        _ = self.changes.changed() => {}
                        () = at(due), if !is_full => {}
                        _ = self.to.writable(), if is_full => {}
                    }
                }
                Err(_) => {
                    connection.broken.set(true);
                    return Err(End::Broken);
                }
            }
        }
        self.buffered -= piece.bytes.len();
        if action == Action::PassThenCutReply {
            connection.cuts_reply.set(true);
        }
        let late = u32::from(action == Action::Hold);
        connection.shared.update(|state| state.late += late);
        Ok(())
    }

    fn decide(&mut self, piece: &Piece) -> Action {
        if piece.cut {
            return Action::Cut;
        }
        let connection = self.connection;
        if self.direction == Direction::Request {
            let take = |state: &mut State| state.plans.take(&self.tail, &piece.bytes);
            // A connection that is about to be cut doesn't use up another plan.
            let planned = if connection.cuts_reply.get() {
                None
            } else {
                connection.shared.update(take)
            };
            extend_tail(&mut self.tail, &piece.bytes);
            if let Some(action) = planned {
                return action;
            }
        }
        (connection.shared.handler)(connection.number, self.direction, &piece.bytes)
    }

    /// Writes as much as the network lets pass, or says when it may.
    fn write(&mut self, bytes: &[u8], arrived: Instant) -> (Option<Instant>, io::Result<usize>) {
        let connection = self.connection;
        connection.shared.update(|state| {
            let network = connection.network(state);
            let (due, now) = (self.due(network, arrived), Instant::now());
            if due.is_none_or(|due| due > now) {
                return (due, Err(ErrorKind::WouldBlock.into()));
            }
            let mut portion = bytes.len();
            if let Network::Throttle(rate) = network {
                let most = usize::try_from(rate.max(1).div_ceil(PORTIONS_PER_SECOND));
                portion = portion.min(most.unwrap_or(usize::MAX));
            }
            let written = self.to.try_write(&bytes[..portion]);
            let count = *written.as_ref().unwrap_or(&0) as u64;
            if let Network::Throttle(rate) = network {
                let rate = u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
                self.next_portion = now + Duration::from_secs(count) / rate;
            }
            match self.direction {
                Direction::Request => state.forwarded_requests += count,
                Direction::Reply => state.forwarded_replies += count,
            }
            (due, written)
        })
    }

    /// When bytes that arrived at this time may be forwarded; nothing while the network is down.
    fn due(&self, network: Network, arrived: Instant) -> Option<Instant> {
        network.passes(self.direction).then_some(match network {
            Network::Delay(delay) => arrived + delay,
            Network::Throttle(_) => self.next_portion,
            _ => arrived,
        })
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}
