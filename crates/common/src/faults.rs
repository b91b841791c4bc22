//! Points at which the fault-injection suite stops a process.
//!
//! [`reach`] is empty unless the workspace is compiled with `--cfg rigline_faults`, which only the
//! suite's own build does (see `crates/prove/rustc-with-faults`).

/// A step of the protocol at which a process can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The ingester is about to append.
    BeforeAppend,
    /// The append is durable.
    AfterAppend,
    /// Acknowledgements are about to be sent to the broker.
    BeforeAcknowledgement,
    /// Acknowledgements were sent.
    AfterAcknowledgement,
    /// A consumer has just acquired its lease.
    AfterLease,
    /// The consumer has read its state.
    AfterState,
    /// The consumer is about to peek.
    BeforePeek,
    /// The consumer has peeked at some elements.
    AfterPeek,
    /// The sink is about to write to the store.
    BeforeWrite,
    /// The sink's write is stored.
    AfterWrite,
    /// The sink has sent the records of a transaction and is about to commit it.
    InTransaction,
    /// The sink's transaction is committed.
    AfterTransaction,
    /// A commit is about to be sent.
    BeforeCommit,
    /// The commit was applied.
    AfterCommit,
    /// A lease is about to be renewed.
    BeforeRenewal,
    /// The lease was renewed.
    AfterRenewal,
}

impl Point {
    /// All points, in the order in which data passes them.
    pub const ALL: [Self; 16] = [
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
        Self::InTransaction,
        Self::AfterTransaction,
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
            Self::InTransaction => "in-transaction",
            Self::AfterTransaction => "after-transaction",
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::BeforeRenewal => "before-renewal",
            Self::AfterRenewal => "after-renewal",
        }
    }
}

/// Reports that the process has reached `point`. Does nothing without `--cfg rigline_faults`.
#[cfg(not(rigline_faults))]
pub const fn reach(_: Point) {}

#[cfg(rigline_faults)]
pub use self::hook::{reach, set_hook};

#[cfg(rigline_faults)]
mod hook {
    use std::sync::OnceLock;

    use super::Point;

    static HOOK: OnceLock<fn(Point)> = OnceLock::new();

    /// Sets the function that [`reach`] calls. Only the first call has an effect.
    pub fn set_hook(hook: fn(Point)) {
        let _ = HOOK.set(hook);
    }

    /// Reports that the process has reached `point`.
    pub fn reach(point: Point) {
        if let Some(hook) = HOOK.get() {
            hook(point);
        }
    }
}
