//! Points at which the fault-injection suite stops a process.
//!
//! [`reach`] is empty unless the workspace is compiled with `--cfg rigline_faults`, which only the
//! suite's own build does (see `crates/prove/rustc-with-faults`).

/// A step of the protocol at which a process can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The ingester is about to append.
    BeforeAppend,
    /// It knows that its append is durable.
    AfterAppend,
    /// Acknowledgements are about to be sent to the broker.
    BeforeAcknowledgement,
    /// They were sent.
    AfterAcknowledgement,
    /// A consumer holds a lease that it has just taken.
    AfterLease,
    /// It has read its state.
    AfterState,
    /// It is about to peek.
    BeforePeek,
    /// It has elements in hand.
    AfterPeek,
    /// The sink is about to write to the store.
    BeforeWrite,
    /// It knows that its write is stored.
    AfterWrite,
    /// A commit is about to be sent.
    BeforeCommit,
    /// It is known to be applied.
    AfterCommit,
    /// A lease is about to be renewed.
    BeforeRenewal,
    /// It was renewed.
    AfterRenewal,
}

impl Point {
    /// All of them, in the order in which data passes them.
    pub const ALL: [Self; 14] = [
        Self::BeforeAppend,
        Self::AfterAppend,
        Self::BeforeAcknowledgement,
        Self::AfterAcknowledgement,
        Self::AfterLease,
        Self::AfterState,
        Self::BeforePeek,
        Self::AfterPeek,
        Self::BeforeWrite,
        Self::AfterWrite,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeRenewal,
        Self::AfterRenewal,
    ];

    /// The name, as in the variable `RIGLINE_POINT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeAppend => "before-append",
            Self::AfterAppend => "after-append",
            Self::BeforeAcknowledgement => "before-acknowledgement",
            Self::AfterAcknowledgement => "after-acknowledgement",
            Self::AfterLease => "after-lease",
            Self::AfterState => "after-state",
            Self::BeforePeek => "before-peek",
            Self::AfterPeek => "after-peek",
            Self::BeforeWrite => "before-write",
            Self::AfterWrite => "after-write",
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::BeforeRenewal => "before-renewal",
            Self::AfterRenewal => "after-renewal",
        }
    }
}

/// The process has come to this point. Does nothing without `--cfg rigline_faults`.
#[cfg(not(rigline_faults))]
pub const fn reach(_: Point) {}

#[cfg(rigline_faults)]
pub use self::hook::{reach, set_hook};

#[cfg(rigline_faults)]
mod hook {
    use std::sync::OnceLock;

    use super::Point;

    static HOOK: OnceLock<fn(Point)> = OnceLock::new();

    /// Has `hook` called at each point from now on; only the first call counts.
    pub fn set_hook(hook: fn(Point)) {
        let _ = HOOK.set(hook);
    }

    /// The process has come to this point.
    pub fn reach(point: Point) {
        if let Some(hook) = HOOK.get() {
            hook(point);
        }
    }
}
