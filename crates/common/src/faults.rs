//! Where tests stop a process on purpose, and the rules that they break on purpose.
//!
//! Nothing of it is in a normal build: without the feature `faults` a [`Point`] does nothing and every
//! [`Rule`] holds, both known when it is compiled.

/// A boundary of the protocol: right before or right after something that counts.
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

/// A rule that the guarantee rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A message is acknowledged after its append, never before.
    AcknowledgeAfterAppend,
    /// A message is acknowledged over the connection that it came from.
    AcknowledgeOwnConnection,
    /// A commit checks the lease's token.
    CheckToken,
    /// A commit checks the list's number.
    CheckNumber,
    /// A commit without an answer is sent again only after a look at what became of it.
    AskBeforeResend,
    /// Elements are trimmed in the commit that appends what became of them.
    TrimWithCommit,
    /// The sink commits after its write.
    WriteBeforeCommit,
    /// A full list holds up whoever appends; nothing is dropped.
    WaitWhenFull,
    /// Emitted cells are remembered over restarts.
    RememberEmitted,
    /// Rows wait for the list's end before they are flushed.
    FlushAtListEnd,
    /// A session that the broker has lost is subscribed again.
    SubscribeAgain,
    /// A lease runs out by the queue's clock.
    LeaseByQueueClock,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::AcknowledgeAfterAppend,
        Self::AcknowledgeOwnConnection,
        Self::CheckToken,
        Self::CheckNumber,
        Self::AskBeforeResend,
        Self::TrimWithCommit,
        Self::WriteBeforeCommit,
        Self::WaitWhenFull,
        Self::RememberEmitted,
        Self::FlushAtListEnd,
        Self::SubscribeAgain,
        Self::LeaseByQueueClock,
    ];

    /// The name, as in the variable `RIGLINE_BREAK`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcknowledgeAfterAppend => "acknowledge-after-append",
            Self::AcknowledgeOwnConnection => "acknowledge-own-connection",
            Self::CheckToken => "check-token",
            Self::CheckNumber => "check-number",
            Self::AskBeforeResend => "ask-before-resend",
            Self::TrimWithCommit => "trim-with-commit",
            Self::WriteBeforeCommit => "write-before-commit",
            Self::WaitWhenFull => "wait-when-full",
            Self::RememberEmitted => "remember-emitted",
            Self::FlushAtListEnd => "flush-at-list-end",
            Self::SubscribeAgain => "subscribe-again",
            Self::LeaseByQueueClock => "lease-by-queue-clock",
        }
    }
}

#[cfg(not(feature = "faults"))]
mod switches {
    use super::{Point, Rule};

    /// Nothing happens here.
    pub const fn reach(_: Point) {}

    /// It does.
    #[must_use]
    pub const fn holds(_: Rule) -> bool {
        true
    }
}

#[cfg(feature = "faults")]
mod switches {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::{Point, Rule};

    /// `RIGLINE_POINT=name:signal:n`: at the n-th time that it comes to the point the process sends
    /// itself SIGKILL (`kill`) or SIGSTOP (`stop`).
    static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| Plan::read("RIGLINE_POINT"));
    /// `RIGLINE_BREAK=name`: that rule is broken.
    static BROKEN: LazyLock<Option<Rule>> = LazyLock::new(|| {
        let name = std::env::var("RIGLINE_BREAK").ok()?;
        Rule::ALL.into_iter().find(|rule| rule.name() == name)
    });

    struct Plan {
        point: Point,
        signal: Signal,
        left: AtomicU64,
    }

    impl Plan {
        fn read(name: &str) -> Option<Self> {
            let text = std::env::var(name).ok()?;
            let mut parts = text.split(':');
            let named = parts.next()?;
            let point = Point::ALL.into_iter().find(|point| point.name() == named)?;
            let signal = match parts.next()? {
                "stop" => Signal::STOP,
                _ => Signal::KILL,
            };
            let left = AtomicU64::new(parts.next()?.parse().ok()?);
            Some(Self {
                point,
                signal,
                left,
            })
        }
    }

    /// Kills or stops the process, if that is what this point is for.
    pub fn reach(point: Point) {
        if let Some(plan) = &*PLAN
            && plan.point == point
            && plan.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            // Can't fail: every process may signal itself.
            let _ = kill_process(getpid(), plan.signal);
        }
    }

    /// Whether nobody has broken it.
    #[must_use]
    pub fn holds(rule: Rule) -> bool {
        *BROKEN != Some(rule)
    }
}

pub use switches::{holds, reach};
