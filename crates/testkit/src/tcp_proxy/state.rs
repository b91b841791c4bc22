//! The state that all connections of a proxy share.

use tokio::sync::watch;

use super::network::{Action, Direction, Network};
use super::plans::Plans;

/// Decides about a piece of a stream: number of the connection, direction, bytes.
pub(super) type Handler = dyn Fn(u64, Direction, &[u8]) -> Action + Send + Sync;

pub(super) struct Shared {
    /// Its lock is held while bytes are written, so that a change holds for all bytes after it.
    pub(super) state: watch::Sender<State>,
    pub(super) handler: Box<Handler>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) network: Network,
    pub(super) target: u16,
    pub(super) plans: Plans,
    pub(super) stopped: bool,
    /// Connections with a smaller number are reset.
    pub(super) reset_below: u64,
    /// How often the held connections were released.
    pub(super) releases: u64,
    pub(super) held: usize,
    pub(super) accepted: u64,
    pub(super) cuts: u32,
    pub(super) late: u32,
    pub(super) forwarded_requests: u64,
    pub(super) forwarded_replies: u64,
}

impl State {
    pub(super) fn reset_all(&mut self) {
        self.reset_below = self.accepted;
        self.held = 0;
    }
}

impl Shared {
    /// Changes the state without waking the connections.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut result = None;
        self.state.send_if_modified(|state| {
            result = Some(change(state));
            false
        });
        result.expect("a change that was made")
    }
}
