//! A TCP proxy between two parts whose pieces are judged one by one.

use std::net::Ipv4Addr;

use crate::relay::{Relay, Ruling, at};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Reply,
}

/// What happens to a piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is dropped and both sides of the connection are closed.
    Cut,
}

/// A running proxy; it ends with its connections when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    relay: Relay,
}

impl Proxy {
    /// Forwards connections to `target` on this machine. `judge` sees every piece before it goes
    /// on, with the connection's number, and may take its time.
    ///
    /// # Panics
    /// If no port can be opened.
    #[must_use]
    pub fn start(
        target: u16,
        judge: impl Fn(u64, Direction, &[u8]) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let relay = Relay::start(
            at(Ipv4Addr::LOCALHOST, 0),
            target,
            move |link, direction, piece| match judge(link.number, direction, piece) {
                Verdict::Pass => Ruling::Pass,
                Verdict::Cut => Ruling::Cut,
            },
        );
        Self { relay }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.relay.port()
    }
}
