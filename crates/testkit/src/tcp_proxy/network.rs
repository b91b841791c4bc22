//! The network conditions and faults that a proxy can simulate.

use std::time::Duration;

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Reply,
}

/// The condition of the network between client and server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// Everything passes at once.
    #[default]
    Ok,
    /// Everything passes in order and this much later, at the usual throughput.
    Delay(Duration),
    /// Nothing passes. Connections stay open, new ones are accepted, and the sender's buffers keep what
    /// is sent until the condition changes, as TCP does with packets that it sends again.
    BlackHole,
    /// Only this direction passes; the other is a [`BlackHole`](Self::BlackHole).
    OneWay(Direction),
    /// Open connections are reset, and so is every new one.
    Refused,
    /// At most this many bytes a second pass in each direction of each connection.
    Throttle(u64),
}

impl Network {
    pub(super) fn passes(self, direction: Direction) -> bool {
        match self {
            Self::Ok | Self::Delay(_) | Self::Throttle(_) => true,
            Self::BlackHole | Self::Refused => false,
            Self::OneWay(open) => open == direction,
        }
    }
}

/// The action that the proxy takes on a piece of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Forwards it.
    Pass,
    /// Forwards it, and cuts the connection when the server's next reply arrives.
    PassThenCutReply,
    /// Drops it and cuts the connection: the client is reset, the server reads end of file.
    Cut,
    /// Holds the piece and its connection until all held connections are released.
    Hold,
}
