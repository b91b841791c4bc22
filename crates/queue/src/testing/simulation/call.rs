//! The calls of a replica to the server.

use std::fmt;

use crate::QueueError;
use crate::error::Cause;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Lease,
    Renew,
    Release,
    State,
    Peek,
    Commit { number: u64, take: usize },
    Progress,
    Snapshot,
}

impl Call {
    pub(super) const fn writes(self) -> bool {
        matches!(
            self,
            Self::Lease | Self::Renew | Self::Release | Self::Commit { .. }
        )
    }

    /// The error of a call without a reply.
    pub(super) fn unanswered(self) -> QueueError {
        if self.writes() {
            QueueError::Unknown("no reply".into())
        } else {
            QueueError::unavailable(Cause::Unreachable, "no reply")
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease => f.write_str("lease"),
            Self::Renew => f.write_str("renew"),
            Self::Release => f.write_str("release"),
            Self::State => f.write_str("state"),
            Self::Peek => f.write_str("peek"),
            Self::Commit { number, take } => write!(f, "commit at number {number}, taking {take}"),
            Self::Progress => f.write_str("progress"),
            Self::Snapshot => f.write_str("snapshot"),
        }
    }
}
