//! Actions that are planned for requests that contain a marker.

use super::network::Action;

/// The longest marker that is found across two pieces.
const LONGEST_MARKER: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Plans(Vec<Plan>);

#[derive(Debug)]
struct Plan {
    marker: &'static str,
    action: Action,
    times: u32,
}

impl Plans {
    pub(super) fn add(&mut self, marker: &'static str, action: Action, times: u32) {
        let length = marker.len();
        assert!(
            (1..=LONGEST_MARKER).contains(&length),
            "a marker of {length} bytes"
        );
        self.0.push(Plan {
            marker,
            action,
            times,
        });
    }

    pub(super) fn remaining(&self) -> u32 {
        self.0.iter().map(|plan| plan.times).sum()
    }

    /// The action planned for the first marker that ends in `piece`, which follows `tail`. Uses the plan
    /// up once.
    pub(super) fn take(&mut self, tail: &[u8], piece: &[u8]) -> Option<Action> {
        self.0.retain(|plan| plan.times > 0);
        let ends_in_piece = |plan: &&mut Plan| {
            let marker = plan.marker.as_bytes();
            let before = &tail[tail.len().saturating_sub(marker.len() - 1)..];
            let bytes = [before, piece].concat();
            bytes.windows(marker.len()).any(|part| part == marker)
        };
        let plan = self.0.iter_mut().find(ends_in_piece)?;
        plan.times -= 1;
        Some(plan.action)
    }
}

/// Appends a piece to the tail, and keeps as much of it as the longest marker needs.
pub(super) fn extend_tail(tail: &mut Vec<u8>, piece: &[u8]) {
    tail.extend_from_slice(&piece[piece.len().saturating_sub(LONGEST_MARKER)..]);
    tail.drain(..tail.len().saturating_sub(LONGEST_MARKER));
}
