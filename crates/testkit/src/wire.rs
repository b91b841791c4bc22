//! A TCP connection between two parts whose network changes while it runs.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::proxy::Direction;
use crate::relay::{Link, Relay, Ruling, at, lock};

/// The longest marker that is found when it comes in two pieces.
const LONGEST_MARKER: usize = 256;

/// What happens to all that is under way between two parts, and to what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// All passes at once.
    Ok,
    /// All passes that much later, in order; as much at a time as without delay.
    Delay(Duration),
    /// Nothing passes. Connections stay open, new ones are accepted, and what is sent waits in the
    /// sender's buffers until it passes in better network, as packets do that are sent again.
    BlackHole,
    /// Only this direction passes, the other is as in a [`BlackHole`](Self::BlackHole).
    OneWay(Direction),
    /// Connections are reset, new ones at once.
    Refused,
    /// Not more than so many bytes a second pass in each direction of each connection.
    Throttle(u64),
}

impl Network {
    pub(crate) fn lets_through(self, direction: Direction) -> bool {
        match self {
            Self::Ok | Self::Delay(_) | Self::Throttle(_) => true,
            Self::BlackHole | Self::Refused => false,
            Self::OneWay(open) => open == direction,
        }
    }
}

/// A running wire; it ends with its connections when it is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    relay: Relay,
    plans: Arc<Mutex<Vec<Plan>>>,
}

/// Connections to cut, or to hold.
#[derive(Debug)]
struct Plan {
    marker: &'static str,
    ruling: Ruling,
    times: u32,
}

impl TcpProxy {
    /// Forwards connections to `target_port` of 127.0.0.1, from a port of its own there.
    #[must_use]
    pub fn start(target_port: u16) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, 0, target_port)
    }

    /// As [`start`](Self::start), listening at an address and a port that are given: the same port
    /// at `127.0.0.2` and at `127.0.0.3`, for instance. Port 0 is any that is free.
    #[must_use]
    pub fn start_at(ip: Ipv4Addr, port: u16, target_port: u16) -> Self {
        let plans: Arc<Mutex<Vec<Plan>>> = Arc::default();
        let own = Arc::clone(&plans);
        let relay = Relay::start(at(ip, port), target_port, move |link, direction, piece| {
            if direction == Direction::Request {
                rule(link, piece, &mut lock(&own))
            } else {
                Ruling::Pass
            }
        });
        Self { relay, plans }
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.relay.port()
    }

    /// Changes the network. From when this returns nothing passes that the new one doesn't let
    /// through, and what has waited for the old one goes by the new one.
    pub fn set(&self, network: Network) {
        self.relay.set(network);
    }

    /// Connections opened from now on go to another port of 127.0.0.1.
    pub fn retarget(&self, port: u16) {
        self.relay.retarget(port);
    }

    /// Resets all connections that are open; new ones are welcome.
    pub fn drop_connections(&self) {
        self.relay.reset_all();
    }

    /// How many connections have been opened so far, without those that were refused.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.relay.opened()
    }

    /// How many bytes have passed: requests, replies.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        self.relay.forwarded()
    }

    /// Lets the next `times` requests with `marker` pass, and cuts each one's connection when the
    /// server's next reply comes: the server has done it, the client never learns.
    ///
    /// "Next" is what comes next after the piece with the marker's end: with several requests under
    /// way on a connection it may be the answer to an earlier one.
    pub fn cut_reply(&self, marker: &'static str, times: u32) {
        self.plan(marker, Ruling::PassUnanswered, times);
    }

    /// Drops the next `times` pieces of requests that have `marker` in them, each with its
    /// connection: the server never gets to know.
    pub fn cut_request(&self, marker: &'static str, times: u32) {
        self.plan(marker, Ruling::Cut, times);
    }

    /// Holds the next `times` pieces of requests that have `marker` in them, each with its
    /// connection, as in a [`BlackHole`](Network::BlackHole), while all others go on: the way of
    /// one connection is broken, and packets that are under way there come late.
    pub fn hold_request(&self, marker: &'static str, times: u32) {
        self.plan(marker, Ruling::Hold, times);
    }

    /// How many connections are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.relay.held()
    }

    /// Lets go on what is held.
    pub fn release(&self) {
        self.relay.release();
    }

    /// How many pieces of requests have come late: held at first, and all with the server now.
    #[must_use]
    pub fn late_requests(&self) -> u32 {
        self.relay.late()
    }

    /// How many cuts are planned whose request hasn't come yet.
    #[must_use]
    pub fn remaining_cuts(&self) -> u32 {
        lock(&self.plans).iter().map(|plan| plan.times).sum()
    }

    /// How many connections have been cut so far.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.relay.cuts()
    }

    /// Takes back the cuts that are planned.
    pub fn cut_nothing(&self) {
        lock(&self.plans).clear();
    }

    fn plan(&self, marker: &'static str, ruling: Ruling, times: u32) {
        assert!(
            (1..=LONGEST_MARKER).contains(&marker.len()),
            "a marker of {} bytes",
            marker.len()
        );
        if times == 0 {
            return;
        }
        lock(&self.plans).push(Plan {
            marker,
            ruling,
            times,
        });
    }
}

/// What becomes of a piece of a request.
fn rule(link: &Link, piece: &[u8], plans: &mut Vec<Plan>) -> Ruling {
    let mut tail = lock(&link.tail);
    let found = plans.iter().position(|plan| has(&tail, piece, plan.marker));
    let end = &piece[piece.len().saturating_sub(LONGEST_MARKER)..];
    tail.extend_from_slice(end);
    let surplus = tail.len().saturating_sub(LONGEST_MARKER);
    tail.drain(..surplus);
    // One that is about to be cut is not to be cut once more.
    let Some(index) = found.filter(|_| lock(&link.swallow).is_none()) else {
        return Ruling::Pass;
    };
    let plan = &mut plans[index];
    let ruling = plan.ruling;
    plan.times -= 1;
    if plan.times == 0 {
        plans.remove(index);
    }
    ruling
}

/// Whether `marker` ends in `piece`, after having begun there or in what came before.
fn has(tail: &[u8], piece: &[u8], marker: &str) -> bool {
    let marker = marker.as_bytes();
    let before = &tail[tail.len().saturating_sub(marker.len() - 1)..];
    let head = &piece[..piece.len().min(marker.len() - 1)];
    let seam = [before, head].concat();
    let is_in = |text: &[u8]| text.windows(marker.len()).any(|part| part == marker);
    is_in(&seam) || is_in(piece)
}
