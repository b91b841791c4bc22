//! The shared state of one run: the server, the remaining faults, and the history so far.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use std::vec;

use model::Stage;
use model::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::call::Call;
use super::processor::POISON;
use super::schedule::{Fault, Schedule, Size};
use super::{BrokenRule, LEASE, REPLICAS, Summary, trace};
use crate::list::List;
use crate::testing::{MemoryQueue, SavedStore, settings};
use crate::{Append, Progress, QueueError};

/// The stage whose replicas are simulated.
pub(super) const STAGE: Stage = Stage::Transformer;
/// A run with more calls doesn't make progress.
const MOST_STEPS: u64 = 5_000;
/// Transactions that the server can lose when it crashes.
const MOST_LOST: usize = 6;
/// With invalid elements, every so many elements is one.
const POISON_INTERVAL: usize = 4;
/// The server's clock at the start of a run.
const EPOCH: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(super) struct Run {
    pub(super) server: MemoryQueue,
    pub(super) size: Size,
    pub(super) broken: Option<BrokenRule>,
    pub(super) over: Notify,
    pub(super) killed: [Notify; REPLICAS],
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    faults: vec::IntoIter<Option<Fault>>,
    summary: Summary,
    trace: Option<Vec<String>>,
    /// A violation that was found before the end of the run.
    violated: Option<String>,
    is_over: bool,
    replicas: [Replica; REPLICAS],
    /// The replica that acquired the lease last.
    holder: Option<usize>,
    /// Calls in flight and commits that aren't settled.
    pending: usize,
    peeks: usize,
    appended: usize,
    /// All commits that were applied, including those that the server has lost.
    applied: Vec<Progress>,
    /// The number of applied commits that the server hasn't lost.
    kept_commits: u64,
    /// The server before each of its last transactions, if it crashes in this run.
    backups: Option<VecDeque<Backup>>,
}

#[derive(Clone, Copy, Default)]
struct Replica {
    frozen_until: Option<Instant>,
    /// How long the replica is down after the end of its process.
    downtime: Duration,
    /// The end of its lease by its own clock.
    lease_end: Duration,
}

struct Backup {
    store: SavedStore,
    appended: usize,
    kept_commits: u64,
    time: Timestamp,
}

/// The run is over, and no more calls are made.
pub(super) struct Over;

/// A pending call or commit, without which the run must not end.
pub(super) struct Pending(Arc<Run>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.lock().pending -= 1;
    }
}

impl Run {
    pub(super) fn new(
        schedule: Schedule,
        broken: Option<BrokenRule>,
        with_trace: bool,
    ) -> Arc<Self> {
        let crashes = |fault: &Option<Fault>| matches!(fault, Some(Fault::ServerCrash { .. }));
        let backups = schedule.faults.iter().any(crashes).then(VecDeque::new);
        let run = Self {
            server: MemoryQueue::new(&settings(), EPOCH).with_broken_rule(broken),
            size: schedule.size,
            broken,
            over: Notify::new(),
            killed: [const { Notify::const_new() }; REPLICAS],
            started: Instant::now(),
            inner: Mutex::new(Inner {
                faults: schedule.faults.into_iter(),
                summary: Summary {
                    runs: 1,
                    ..Summary::default()
                },
                trace: with_trace.then(Vec::new),
                violated: None,
                is_over: false,
                replicas: Default::default(),
                holder: None,
                pending: 0,
                peeks: 0,
                appended: 0,
                applied: Vec::new(),
                kept_commits: 0,
                backups,
            }),
        };
        run.log(|| format!("{:?}", run.size));
        Arc::new(run)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Adds a line to the trace, if there is one.
    pub(super) fn log(&self, line: impl FnOnce() -> String) {
        self.lock().log(self.started, line);
    }

    /// Starts a call of a replica and returns its fault.
    pub(super) fn begin_call(&self, replica: usize, call: Call) -> Result<Option<Fault>, Over> {
        let mut inner = self.lock();
        inner.summary.steps += 1;
        if inner.summary.steps > MOST_STEPS {
            let endless = || format!("no progress after {MOST_STEPS} calls");
            inner.violated.get_or_insert_with(endless);
        }
        let all_taken = inner.appended == self.size.elements
            && inner.pending == 0
            && inner
                .replicas
                .iter()
                .all(|replica| replica.frozen_until.is_none())
            && self.server.length(List::Raw) == 0;
        inner.is_over |= all_taken || inner.violated.is_some();
        if inner.is_over {
            self.over.notify_one();
            return Err(Over);
        }
        let fault = inner.faults.next().flatten();
        inner.log(self.started, || {
            let fault = fault.map_or_else(String::new, |fault| format!(" ({fault})"));
            format!("{}: {call}{fault}", trace::name(replica))
        });
        Ok(fault)
    }

    /// Delivers a request to the server.
    pub(super) fn deliver<T>(
        &self,
        replica: usize,
        call: Call,
        apply: impl FnOnce(&MemoryQueue) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let mut inner = self.lock();
        if call == Call::Peek {
            self.produce(&mut inner);
        }
        // A lease call that finds the lease held is no transaction.
        if call.writes() && (call != Call::Lease || self.server.holder(STAGE).is_none()) {
            inner.back_up(&self.server);
        }
        let result = apply(&self.server);
        let error = result.as_ref().err();
        if matches!(call, Call::Commit { .. }) {
            inner.record_commit(&self.server, error.is_none());
        }
        if call.writes() {
            let error = error.map(ToString::to_string);
            inner.log(self.started, || {
                trace::reply(&self.server, replica, call, error.as_deref())
            });
        }
        result
    }

    /// Appends the producer's next elements at every so many peeks.
    fn produce(&self, inner: &mut Inner) {
        inner.peeks += 1;
        if !inner.peeks.is_multiple_of(self.size.peeks_per_append)
            || inner.appended == self.size.elements
        {
            return;
        }
        let end = self
            .size
            .elements
            .min(inner.appended + self.size.append_length);
        let raw: Vec<_> = (inner.appended..end)
            .map(|index| element(self.size, index))
            .collect();
        inner.log(self.started, || format!("   the producer appends {raw:?}"));
        let dead = Vec::new();
        self.server.append_now(&Append {
            raw,
            dead,
            ..Append::default()
        });
        inner.appended = end;
    }

    /// Restarts the server without its last transactions. The producer repeats lost appends.
    pub(super) fn crash_server(&self, lost_transactions: usize, clock_too: bool) {
        let mut inner = self.lock();
        inner.summary.server_crashes += 1;
        let Some(backups) = &mut inner.backups else {
            return;
        };
        let lost = lost_transactions.min(backups.len());
        let kept = backups.len() - lost;
        let Some(backup) = backups.drain(kept..).next() else {
            return;
        };
        self.server.restore(backup.store);
        inner.kept_commits = backup.kept_commits;
        inner.appended = backup.appended;
        if clock_too {
            self.server.set_clock(backup.time);
        }
        inner.log(self.started, || {
            let data = trace::data(&self.server);
            let clock = if clock_too {
                " and with an old clock"
            } else {
                ""
            };
            format!("   the server restarts without its last {lost} transactions{clock}; {data}")
        });
    }

    /// The number of server crashes so far. A crash closes all connections.
    pub(super) fn server_crashes(&self) -> u64 {
        self.lock().summary.server_crashes
    }

    /// Keeps the run from ending until the guard is dropped.
    pub(super) fn pending(run: &Arc<Self>) -> Pending {
        run.lock().pending += 1;
        Pending(Arc::clone(run))
    }

    pub(super) fn count_lost_reply(&self) {
        self.lock().summary.replies_lost += 1;
    }

    pub(super) fn freeze(&self, replica: usize, wait: Duration) {
        let mut inner = self.lock();
        inner.summary.freezes += 1;
        inner.replicas[replica].frozen_until = Some(Instant::now() + wait);
    }

    /// The end of a replica's freeze, if it is frozen.
    pub(super) fn frozen_until(&self, replica: usize) -> Option<Instant> {
        let frozen_until = &mut self.lock().replicas[replica].frozen_until;
        *frozen_until = frozen_until.filter(|until| *until > Instant::now());
        *frozen_until
    }

    pub(super) fn crash(&self, replica: usize, downtime: Duration) {
        let mut inner = self.lock();
        inner.summary.crashes += 1;
        inner.replicas[replica].downtime = downtime;
        self.killed[replica].notify_one();
    }

    /// Resets a replica whose process has ended. Returns how long it stays down.
    pub(super) fn end_process(&self, replica: usize) -> Duration {
        std::mem::take(&mut self.lock().replicas[replica]).downtime
    }

    /// Records that a replica has received a new lease.
    pub(super) fn acquired(&self, replica: usize) {
        self.renewed(replica);
        let mut inner = self.lock();
        if inner
            .holder
            .replace(replica)
            .is_some_and(|last| last != replica)
        {
            inner.summary.takeovers += 1;
        }
    }

    /// Records that a replica knows that its lease was renewed.
    pub(super) fn renewed(&self, replica: usize) {
        self.lock().replicas[replica].lease_end = self.own_clock(replica) + LEASE;
    }

    /// Whether a replica's lease has expired by its own clock.
    pub(super) fn is_expired_for(&self, replica: usize) -> bool {
        self.own_clock(replica) >= self.lock().replicas[replica].lease_end
    }

    fn own_clock(&self, replica: usize) -> Duration {
        self.started.elapsed() * self.size.clock_speeds[replica] / 100
    }

    /// Checks that a commit was applied.
    pub(super) fn check_applied(&self, commit: &Progress) {
        let mut inner = self.lock();
        if !inner.applied.contains(commit) {
            let (number, by) = (commit.number, &commit.by);
            let what = format!("{by} considers commit {number} applied, but it never was");
            inner.violated.get_or_insert(what);
        }
    }

    /// A violation that was found before the end of the run.
    pub(super) fn violated(&self) -> Option<String> {
        self.lock().violated.take()
    }

    pub(super) fn kept_commits(&self) -> u64 {
        self.lock().kept_commits
    }

    pub(super) fn finish(&self) -> (Summary, Vec<String>) {
        let mut inner = self.lock();
        let trace = inner.trace.take().unwrap_or_default();
        (inner.summary, trace)
    }
}

impl Inner {
    fn log(&mut self, started: Instant, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = started.elapsed().as_secs_f64();
            trace.push(format!("{at:8.3}s  {}", line()));
        }
    }

    fn back_up(&mut self, server: &MemoryQueue) {
        let Some(backups) = &mut self.backups else {
            return;
        };
        if backups.len() == MOST_LOST {
            backups.pop_front();
        }
        backups.push_back(Backup {
            store: server.save(),
            appended: self.appended,
            kept_commits: self.kept_commits,
            time: server.now(),
        });
    }

    fn record_commit(&mut self, server: &MemoryQueue, is_applied: bool) {
        if !is_applied {
            self.summary.refused += 1;
            return;
        }
        self.summary.applied += 1;
        self.kept_commits += 1;
        self.applied.push(server.progress_now(STAGE));
    }
}

/// The element at an index: its key and its number among the elements of this key.
pub(super) fn element(size: Size, index: usize) -> Vec<u8> {
    let byte = |number: usize| u8::try_from(number).expect("a run has few elements");
    if size.poison && index % POISON_INTERVAL == POISON_INTERVAL - 1 {
        return vec![POISON, byte(index)];
    }
    let invalid = if size.poison {
        index / POISON_INTERVAL
    } else {
        0
    };
    let (keys, index) = (usize::from(size.keys), index - invalid);
    vec![byte(index % keys), byte(index / keys)]
}
