//! The data of the queue, and what each call does to it in the order of the Redis scripts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::time::Timestamp;

use crate::changes::is_applied;
use crate::ledger::{Counter, Ledger};
use crate::list::{List, output_of, source_of};
use crate::settings::QueueSettings;
use crate::testing::simulation::BrokenRule;
use crate::{Append, Appended, Commit, Lease, Peek, Progress, QueueError, Snapshot, State};
use model::Stage;
use model::position::Positions;

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
    consumers: [Consumer; 4],
    ledger: Ledger,
    dead_bytes: usize,
    instance: String,
    /// The positions of the source.
    pub(super) positions: Positions,
    /// The number of applied commits whose sender didn't hold the lease.
    pub(super) commits_without_lease: u64,
}

/// The data of one consumer.
#[derive(Debug, Clone, Default)]
struct Consumer {
    number: u64,
    by: String,
    tokens: u64,
    /// The lease's token and end.
    lease: Option<(String, i64)>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Consumer {
    fn holder(&self, now: Timestamp) -> Option<&str> {
        let (token, until) = self.lease.as_ref()?;
        (*until > millis(now)).then_some(token)
    }
}

impl Store {
    pub(super) fn append(&mut self, append: &Append, limits: Limits) -> Appended {
        let length = self.length(List::Raw);
        match is_applied(&append.steps, |partition| {
            self.positions.get(partition).cloned()
        }) {
            None => return Appended::Moved,
            Some(true) => {
                let accepted = self.ledger.get(Counter::Accepted);
                return Appended::Done { length, accepted };
            }
            Some(false) => {}
        }
        if length >= limits.list {
            return Appended::Full { length };
        }
        let steps = append.steps.iter();
        let steps = steps.map(|step| (step.partition.clone(), step.to.clone()));
        self.positions.extend(steps);
        self.list(List::Raw).extend(append.raw.iter().cloned());
        self.append_dead(&append.dead, limits);
        self.add(Counter::Accepted, number(append.raw.len()));
        let dead = append.dead.len() + append.over_quota;
        self.add(Counter::DeadIngester, number(dead));
        self.add(Counter::Trimmed, number(append.over_quota));
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
        let data = self.consumer(consumer);
        let token = match data.holder(now) {
            Some(held) if held.ends_with(nonce) => held.to_owned(),
            Some(_) => return None,
            None => {
                data.tokens += 1;
                format!("{}-{nonce}", data.tokens)
            }
        };
        data.lease = Some((token.clone(), millis(now.plus(limit))));
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
        if self.consumer(lease.consumer).holder(now) != Some(&lease.token) {
            return Err(QueueError::Fenced);
        }
        self.extend_lease(lease, now);
        Ok(())
    }

    pub(super) fn release(&mut self, lease: &Lease, now: Timestamp) -> Result<(), QueueError> {
        self.renew(lease, now)?;
        self.consumer(lease.consumer).lease = None;
        Ok(())
    }

    pub(super) fn holder(&self, consumer: Stage, now: Timestamp) -> Option<String> {
        let holder = self.consumers[consumer as usize].holder(now);
        holder.map(ToOwned::to_owned)
    }

    pub(super) fn state(&self, consumer: Stage) -> State {
        let entries = self.consumers[consumer as usize].state.iter();
        entries
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    pub(super) fn peek(&self, consumer: Stage, skip: usize, max: usize) -> Peek {
        let source = source_of(consumer);
        Peek {
            number: self.consumers[consumer as usize].number,
            items: source.map_or_else(Vec::new, |list| self.items(list, skip, max)),
            length: source.map_or(0, |list| self.length(list)),
            output_length: output_of(consumer).map_or(0, |list| self.length(list)),
        }
    }

    /// Checks a commit's token, its number and the head of its list.
    pub(super) fn check_commit(
        &mut self,
        lease: &Lease,
        commit: &Commit,
        now: Timestamp,
        broken: Option<BrokenRule>,
    ) -> Result<(), QueueError> {
        let trusts_token = matches!(
            broken,
            Some(BrokenRule::SkipTokenCheck | BrokenRule::LeaseByConsumerClock)
        );
        let data = self.consumer(lease.consumer);
        let holds_lease = data.holder(now) == Some(&lease.token);
        if !trusts_token && !holds_lease {
            return Err(QueueError::Fenced);
        }
        let found = data.number;
        if found != commit.number && broken != Some(BrokenRule::SkipNumberCheck) {
            return Err(QueueError::Conflict {
                expected: commit.number,
                found,
            });
        }
        if let (Some(last), Some(before)) = (&commit.last_taken, commit.take.checked_sub(1))
            && let Some(source) = source_of(lease.consumer)
            && self.list(source).get(before) != Some(last)
        {
            return Err(QueueError::Shifted);
        }
        self.commits_without_lease += u64::from(!holds_lease);
        Ok(())
    }

    /// Applies a commit, except the trim.
    pub(super) fn apply(&mut self, lease: &Lease, commit: &Commit, limits: Limits) {
        self.list(List::Normalized)
            .extend(commit.outputs.iter().cloned());
        self.append_dead(&commit.dead, limits);
        let data = self.consumer(lease.consumer);
        data.state.extend(commit.puts.iter().cloned());
        for key in &commit.deletes {
            data.state.remove(key);
        }
        data.number += 1;
        data.by.clone_from(&lease.token);
        for (counter, delta) in commit.ledger(lease.consumer) {
            self.add(counter, delta);
        }
    }

    pub(super) fn trim(&mut self, consumer: Stage, commit: &Commit) {
        let Some(source) = source_of(consumer) else {
            return;
        };
        let source = self.list(source);
        source.drain(..commit.take.min(source.len()));
    }

    /// Extends a lease by its limit from now, if it is still this one.
    pub(super) fn extend_lease(&mut self, lease: &Lease, now: Timestamp) {
        if let Some((token, until)) = &mut self.consumer(lease.consumer).lease
            && *token == lease.token
        {
            *until = millis(now.plus(lease.limit));
        }
    }

    pub(super) fn progress(&self, consumer: Stage) -> Progress {
        let data = &self.consumers[consumer as usize];
        Progress {
            number: data.number,
            by: data.by.clone(),
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

    pub(super) fn items(&self, list: List, skip: usize, max: usize) -> Vec<Vec<u8>> {
        self.lists[list as usize]
            .iter()
            .skip(skip)
            .take(max)
            .cloned()
            .collect()
    }

    pub(super) fn length(&self, list: List) -> usize {
        self.lists[list as usize].len()
    }

    /// Appends dead letters, and trims and counts the oldest beyond the limits.
    fn append_dead(&mut self, dead: &[Vec<u8>], limits: Limits) {
        self.dead_bytes += dead.iter().map(Vec::len).sum::<usize>();
        self.list(List::Dead).extend(dead.iter().cloned());
        while self.length(List::Dead) > limits.dead_count || self.dead_bytes > limits.dead_bytes {
            let Some(trimmed) = self.list(List::Dead).pop_front() else {
                break;
            };
            self.dead_bytes -= trimmed.len();
            self.add(Counter::Trimmed, 1);
        }
    }

    fn add(&mut self, counter: Counter, delta: i64) {
        self.ledger.set(counter, self.ledger.get(counter) + delta);
    }

    fn list(&mut self, list: List) -> &mut VecDeque<Vec<u8>> {
        &mut self.lists[list as usize]
    }

    fn consumer(&mut self, consumer: Stage) -> &mut Consumer {
        &mut self.consumers[consumer as usize]
    }
}

const fn millis(time: Timestamp) -> i64 {
    time.nanos() / 1_000_000
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
