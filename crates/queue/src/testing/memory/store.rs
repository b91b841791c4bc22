//! What each call does, in the order of the scripts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::time::Timestamp;

use crate::ledger::{Counter, Ledger};
use crate::list::{List, source_of};
use crate::settings::QueueSettings;
use crate::testing::simulation::BrokenRule;
use crate::{Append, Appended, Commit, Lease, Peek, Progress, QueueError, Snapshot, State};
use model::Stage;

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    list: usize,
    dead_count: usize,
    dead_bytes: usize,
}

impl Limits {
    pub(super) const fn new(settings: &QueueSettings) -> Self {
        Self {
            list: settings.limits.queue_limit,
            dead_count: settings.limits.dead_letter_limit,
            dead_bytes: settings.limits.dead_letter_bytes,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    lists: [VecDeque<Vec<u8>>; 3],
    desks: [Desk; 3],
    ledger: Ledger,
    dead_bytes: usize,
    instance: String,
    /// Commits carried out for who didn't hold the lease.
    pub(super) unlawful: u64,
}

/// What is kept for one consumer.
#[derive(Debug, Clone, Default)]
struct Desk {
    number: u64,
    by: String,
    tokens: u64,
    /// The lease's token and end.
    held: Option<(String, i64)>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Desk {
    fn holder(&self, now: Timestamp) -> Option<&str> {
        let (token, until) = self.held.as_ref()?;
        (*until > millis(now)).then_some(token)
    }
}

impl Store {
    pub(super) fn append(&mut self, append: &Append, limits: Limits) -> Appended {
        let length = self.length(List::Raw);
        if length >= limits.list {
            return Appended::Full { length };
        }
        self.list(List::Raw).extend(append.raw.iter().cloned());
        self.bury(&append.dead, limits);
        self.add(Counter::Accepted, number(append.raw.len()));
        self.add(Counter::DeadIngester, number(append.dead.len()));
        Appended::Done {
            length: length + append.raw.len(),
            accepted: self.ledger.get(Counter::Accepted),
        }
    }

    pub(super) fn lease(
        &mut self,
        consumer: Stage,
        nonce: &str,
        limit: Duration,
        now: Timestamp,
    ) -> Option<Lease> {
        let desk = self.desk(consumer);
        let token = match desk.holder(now) {
            Some(held) if held.ends_with(nonce) => held.to_owned(),
            Some(_) => return None,
            None => {
                desk.tokens += 1;
                format!("{}-{nonce}", desk.tokens)
            }
        };
        desk.held = Some((token.clone(), millis(now.plus(limit))));
        if self.instance.is_empty() {
            self.instance = format!("{:016x}", fastrand::u64(..));
        }
        Some(Lease {
            consumer,
            token,
            limit,
        })
    }

    pub(super) fn renew(&mut self, lease: &Lease, now: Timestamp) -> Result<(), QueueError> {
        if self.desk(lease.consumer).holder(now) != Some(&lease.token) {
            return Err(QueueError::Fenced);
        }
        self.keep(lease, now);
        Ok(())
    }

    pub(super) fn release(&mut self, lease: &Lease, now: Timestamp) -> Result<(), QueueError> {
        self.renew(lease, now)?;
        self.desk(lease.consumer).held = None;
        Ok(())
    }

    pub(super) fn holder(&self, consumer: Stage, now: Timestamp) -> Option<String> {
        let holder = self.desks[place(consumer)].holder(now);
        holder.map(ToOwned::to_owned)
    }

    pub(super) fn state(&self, consumer: Stage) -> State {
        let entries = self.desks[place(consumer)].state.iter();
        entries
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    pub(super) fn peek(&self, consumer: Stage, max: usize) -> Peek {
        let source = source_of(consumer);
        Peek {
            number: self.desks[place(consumer)].number,
            items: self.items(source, max),
            length: self.length(source),
            output_length: match consumer {
                Stage::Transformer => self.length(List::Normalized),
                Stage::Ingester | Stage::Sink => 0,
            },
        }
    }

    /// Whether a commit may be carried out: its token, its number, the head of its list.
    pub(super) fn check(
        &mut self,
        lease: &Lease,
        commit: &Commit,
        now: Timestamp,
        broken: Option<BrokenRule>,
    ) -> Result<(), QueueError> {
        let trusts = matches!(
            broken,
            Some(BrokenRule::SkipTokenCheck | BrokenRule::LeaseByConsumerClock)
        );
        let desk = self.desk(lease.consumer);
        let holds = desk.holder(now) == Some(&lease.token);
        if !trusts && !holds {
            return Err(QueueError::Fenced);
        }
        let found = desk.number;
        if found != commit.number && broken != Some(BrokenRule::SkipNumberCheck) {
            return Err(QueueError::Conflict {
                expected: commit.number,
                found,
            });
        }
        if let (Some(last), Some(before)) = (&commit.last_taken, commit.take.checked_sub(1))
            && self.list(source_of(lease.consumer)).get(before) != Some(last)
        {
            return Err(QueueError::Shifted);
        }
        self.unlawful += u64::from(!holds);
        Ok(())
    }

    /// All of a commit but the trim.
    pub(super) fn hand_on(&mut self, lease: &Lease, commit: &Commit, limits: Limits) {
        self.list(List::Normalized)
            .extend(commit.outputs.iter().cloned());
        self.bury(&commit.dead, limits);
        let desk = self.desk(lease.consumer);
        desk.state.extend(commit.puts.iter().cloned());
        for key in &commit.deletes {
            desk.state.remove(key);
        }
        desk.number += 1;
        desk.by.clone_from(&lease.token);
        for (counter, delta) in commit.ledger(lease.consumer) {
            self.add(counter, delta);
        }
    }

    pub(super) fn trim(&mut self, consumer: Stage, commit: &Commit) {
        let source = self.list(source_of(consumer));
        source.drain(..commit.take.min(source.len()));
    }

    /// Lets a lease last its limit from now, if it still is this one.
    pub(super) fn keep(&mut self, lease: &Lease, now: Timestamp) {
        if let Some((token, until)) = &mut self.desk(lease.consumer).held
            && *token == lease.token
        {
            *until = millis(now.plus(lease.limit));
        }
    }

    pub(super) fn progress(&self, consumer: Stage) -> Progress {
        let desk = &self.desks[place(consumer)];
        Progress {
            number: desk.number,
            by: desk.by.clone(),
        }
    }

    pub(super) fn snapshot(&self, now: Timestamp) -> Snapshot {
        let mut ledger = self.ledger.clone();
        ledger.raw = number(self.length(List::Raw));
        ledger.normalized = number(self.length(List::Normalized));
        ledger.dead = number(self.length(List::Dead));
        Snapshot {
            instance: self.instance.clone(),
            server_time: now,
            ledger,
        }
    }

    pub(super) fn push_foreign(&mut self, list: List, item: &[u8]) {
        self.list(list).push_back(item.to_vec());
    }

    pub(super) fn push_to_head(&mut self, list: List, item: &[u8]) {
        self.list(list).push_front(item.to_vec());
    }

    pub(super) fn items(&self, list: List, max: usize) -> Vec<Vec<u8>> {
        self.lists[list as usize]
            .iter()
            .take(max)
            .cloned()
            .collect()
    }

    pub(super) fn length(&self, list: List) -> usize {
        self.lists[list as usize].len()
    }

    /// Appends dead letters and trims the oldest beyond the limits, counting what went.
    fn bury(&mut self, letters: &[Vec<u8>], limits: Limits) {
        self.dead_bytes += letters.iter().map(Vec::len).sum::<usize>();
        self.list(List::Dead).extend(letters.iter().cloned());
        while self.length(List::Dead) > limits.dead_count || self.dead_bytes > limits.dead_bytes {
            let Some(gone) = self.list(List::Dead).pop_front() else {
                break;
            };
            self.dead_bytes -= gone.len();
            self.add(Counter::Trimmed, 1);
        }
    }

    fn add(&mut self, counter: Counter, delta: i64) {
        self.ledger.set(counter, self.ledger.get(counter) + delta);
    }

    fn list(&mut self, list: List) -> &mut VecDeque<Vec<u8>> {
        &mut self.lists[list as usize]
    }

    fn desk(&mut self, consumer: Stage) -> &mut Desk {
        &mut self.desks[place(consumer)]
    }
}

const fn place(consumer: Stage) -> usize {
    consumer as usize
}

const fn millis(time: Timestamp) -> i64 {
    time.nanos() / 1_000_000
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
