//! What the replicas share: the server, the schedule, and what has happened so far.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::schedule::{Fate, Schedule, Size};
use super::toy::POISON;
use super::{BrokenRule, LEASE, Summary, words};
use crate::list::List;
use crate::testing::{Memory, MemoryQueue, settings};
use crate::{Append, Progress, QueueError};
use model::Stage;

/// The stage whose replicas are simulated.
pub(super) const STAGE: Stage = Stage::Transformer;
/// Replicas of it.
pub(super) const REPLICAS: usize = 2;
/// A run that takes more calls than this gets nowhere.
const MOST_STEPS: u64 = 5_000;
/// States of the server that are kept, so that it can lose its last transactions.
const KEPT: usize = 6;
/// What the server's clock shows at the start of a run.
const EPOCH: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A call to the server.
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
    const fn writes(self) -> bool {
        matches!(
            self,
            Self::Lease | Self::Renew | Self::Release | Self::Commit { .. }
        )
    }

    /// What a caller makes of an answer that doesn't come.
    pub(super) fn unanswered(self) -> QueueError {
        if self.writes() {
            QueueError::Unknown("no answer".into())
        } else {
            QueueError::unavailable(crate::error::Cause::Unreachable, "no answer")
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
            Self::Snapshot => f.write_str("look"),
        }
    }
}

pub(super) struct World {
    pub(super) server: MemoryQueue,
    pub(super) size: Size,
    pub(super) broken: Option<BrokenRule>,
    pub(super) over: Notify,
    pub(super) killed: [Notify; REPLICAS],
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    schedule: Schedule,
    summary: Summary,
    trace: Option<Vec<String>>,
    /// What was violated on the way.
    violated: Option<String>,
    is_over: bool,
    /// Replicas stand still until then.
    frozen: [Option<Instant>; REPLICAS],
    /// How long replicas stay away after a crash or a stop.
    down: [Duration; REPLICAS],
    /// When the replicas' leases end by their own clocks.
    until: [Duration; REPLICAS],
    holder: Option<usize>,
    /// Calls on their way and commits that aren't settled.
    open: usize,
    /// Lives of the server: its connections end with each.
    lives: usize,
    peeks: usize,
    appended: usize,
    /// Commits that were carried out, those that a server has lost again among them.
    carried_out: Vec<Progress>,
    /// Commits that stand.
    standing: u64,
    /// The server before its last transactions.
    past: Option<VecDeque<Past>>,
}

/// A server as it was, what was appended and which commits stood then, what its clock showed.
struct Past {
    memory: Memory,
    appended: usize,
    standing: u64,
    time: Timestamp,
}

/// Something is on its way, so that the run isn't over yet.
pub(super) struct Open(Arc<World>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
    }
}

impl World {
    pub(super) fn new(bytes: &[u8], broken: Option<BrokenRule>, tells: bool) -> Arc<Self> {
        let schedule = Schedule::new(bytes);
        let started = Instant::now();
        let past = schedule.kills_the_server().then(VecDeque::new);
        Arc::new(Self {
            server: MemoryQueue::new(&settings(), EPOCH).breaking(broken),
            size: schedule.size(),
            broken,
            over: Notify::new(),
            killed: [Notify::new(), Notify::new()],
            started,
            inner: Mutex::new(Inner {
                schedule,
                summary: Summary {
                    runs: 1,
                    ..Summary::default()
                },
                trace: tells.then(Vec::new),
                violated: None,
                is_over: false,
                frozen: [None; REPLICAS],
                down: [Duration::ZERO; REPLICAS],
                until: [Duration::ZERO; REPLICAS],
                holder: None,
                open: 0,
                lives: 0,
                peeks: 0,
                appended: 0,
                carried_out: Vec::new(),
                standing: 0,
                past,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Adds a line to the trace, if anybody wants one.
    pub(super) fn say(&self, line: impl FnOnce() -> String) {
        self.lock().say(self.started, line);
    }

    /// Takes note of a call that `who` is about to make; says what happens to it. `None` when the
    /// run is over.
    pub(super) fn meet(&self, who: usize, call: Call) -> Option<Fate> {
        let mut inner = self.lock();
        inner.summary.steps += 1;
        if inner.summary.steps > MOST_STEPS {
            let endless = || "no end: the replicas keep calling and get nowhere".to_owned();
            inner.violated.get_or_insert_with(endless);
        }
        let all_taken = inner.appended == self.size.elements
            && inner.open == 0
            && inner.frozen == [None; REPLICAS]
            && self.server.length(List::Raw) == 0;
        // From here on nobody does anything, even if something was still to come at this instant.
        inner.is_over |= all_taken || inner.violated.is_some();
        if inner.is_over {
            self.over.notify_one();
            return None;
        }
        let fate = inner.schedule.next();
        inner.say(self.started, || {
            let how = words::fate(fate);
            format!("{}: {call}{how}", words::name(who))
        });
        Some(fate)
    }

    /// A call arrives at the server and is carried out or refused.
    pub(super) fn arrive<T>(
        &self,
        who: usize,
        call: Call,
        apply: impl FnOnce(&MemoryQueue) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let mut inner = self.lock();
        if call == Call::Peek {
            self.produce(&mut inner);
        }
        // Asking for a lease that is held changes nothing.
        if call.writes() && (call != Call::Lease || self.server.holder(STAGE).is_none()) {
            inner.keep(&self.server);
        }
        let result = apply(&self.server);
        let refused = result.as_ref().err();
        if matches!(call, Call::Commit { .. }) {
            inner.note_commit(&self.server, refused.is_none());
        }
        if call.writes() {
            let said = refused.map(ToString::to_string);
            inner.say(self.started, || {
                words::answer(&self.server, who, call, said.as_deref())
            });
        }
        result
    }

    /// The producer appends its next elements, at every so many peeks.
    fn produce(&self, inner: &mut Inner) {
        inner.peeks += 1;
        if !inner.peeks.is_multiple_of(self.size.gap) || inner.appended == self.size.elements {
            return;
        }
        let upto = self.size.elements.min(inner.appended + self.size.chunk);
        let raw: Vec<_> = (inner.appended..upto)
            .map(|place| element(self.size, place))
            .collect();
        inner.say(self.started, || format!("   the producer appends {raw:?}"));
        let dead = Vec::new();
        self.server.append_now(&Append { raw, dead });
        inner.appended = upto;
    }

    /// The server is killed and comes back without its last `cut` transactions; what was appended
    /// among them is appended again.
    pub(super) fn kill_server(&self, cut: usize, clock_too: bool) {
        let mut inner = self.lock();
        inner.lives += 1;
        inner.summary.server_deaths += 1;
        let Some(past) = &mut inner.past else {
            return;
        };
        let cut = cut.min(past.len());
        let kept = past.len() - cut;
        let Some(back) = past.drain(kept..).next() else {
            return;
        };
        self.server.recall(back.memory);
        inner.standing = back.standing;
        inner.appended = back.appended;
        if clock_too {
            self.server.set_clock(back.time);
        }
        inner.say(self.started, || {
            let state = words::contents(&self.server);
            let clock = if clock_too { " and at their time" } else { "" };
            format!("   the server is back without its last {cut} transactions{clock}; {state}")
        });
    }

    /// Which life of the server it is.
    pub(super) fn life(&self) -> usize {
        self.lock().lives
    }

    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.lock().open += 1;
        Open(self.clone())
    }

    pub(super) fn lose_reply(&self) {
        self.lock().summary.replies_lost += 1;
    }

    pub(super) fn freeze(&self, who: usize, wait: Duration) {
        let mut inner = self.lock();
        inner.summary.freezes += 1;
        inner.frozen[who] = Some(Instant::now() + wait);
    }

    /// Until when a replica stands still, if it does.
    pub(super) fn frozen_until(&self, who: usize) -> Option<Instant> {
        let mut inner = self.lock();
        let until = inner.frozen[who]?;
        if until <= Instant::now() {
            inner.frozen[who] = None;
        }
        inner.frozen[who]
    }

    pub(super) fn crash(&self, who: usize, down: Duration) {
        let mut inner = self.lock();
        inner.summary.crashes += 1;
        inner.down[who] = down;
        self.killed[who].notify_one();
    }

    /// How long a replica that has ended stays away; it wakes up as a new process.
    pub(super) fn bury(&self, who: usize) -> Duration {
        let mut inner = self.lock();
        inner.frozen[who] = None;
        std::mem::take(&mut inner.down[who])
    }

    /// A lease was given or kept, as the caller has just learned.
    pub(super) fn held(&self, who: usize, is_new: bool) {
        let own = self.own_clock(who);
        let mut inner = self.lock();
        inner.until[who] = own + LEASE;
        if is_new && inner.holder.replace(who).is_some_and(|last| last != who) {
            inner.summary.takeovers += 1;
        }
    }

    /// Whether the lease has ended by the caller's own clock.
    pub(super) fn ended_for(&self, who: usize) -> bool {
        let own = self.own_clock(who);
        own >= self.lock().until[who]
    }

    fn own_clock(&self, who: usize) -> Duration {
        self.started.elapsed() * self.size.paces[who] / 100
    }

    /// A replica takes it that its commit was carried out.
    pub(super) fn believe(&self, commit: &Progress) {
        let mut inner = self.lock();
        if !inner.carried_out.contains(commit) {
            let (number, by) = (commit.number, &commit.by);
            let what = format!("{by} takes commit {number} for carried out, and it never was");
            inner.violated.get_or_insert(what);
        }
    }

    /// What was violated on the way; ends the run.
    pub(super) fn violated(&self) -> Option<String> {
        self.lock().violated.take()
    }

    pub(super) fn standing(&self) -> u64 {
        self.lock().standing
    }

    pub(super) fn finish(&self) -> (Summary, Vec<String>) {
        let mut inner = self.lock();
        let trace = inner.trace.take().unwrap_or_default();
        (inner.summary, trace)
    }
}

impl Inner {
    fn say(&mut self, started: Instant, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = started.elapsed().as_secs_f64();
            trace.push(format!("{at:8.3}s  {}", line()));
        }
    }

    fn keep(&mut self, server: &MemoryQueue) {
        let Some(past) = &mut self.past else {
            return;
        };
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(Past {
            memory: server.memory(),
            appended: self.appended,
            standing: self.standing,
            time: server.now(),
        });
    }

    fn note_commit(&mut self, server: &MemoryQueue, applied: bool) {
        if !applied {
            self.summary.refused += 1;
            return;
        }
        self.summary.applied += 1;
        self.standing += 1;
        self.carried_out.push(server.progress_now(STAGE));
    }
}

/// The element at a place: its key and its number among those of the key.
pub(super) fn element(size: Size, place: usize) -> Vec<u8> {
    let small = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    if size.poison > 0 && place % size.poison == size.poison - 1 {
        return vec![POISON, small(place)];
    }
    let keys = usize::from(size.keys);
    let poisoned = place.checked_div(size.poison).unwrap_or(0);
    let place = place - poisoned;
    vec![small(place % keys), small(place / keys)]
}
