//! The alerts of all series of a pipeline, with what the queue keeps of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Layout, Timestamp};
use queue::State;

use super::event::{Delivery, Event};
use super::machine::{AlertState, Machine, Transition};
use super::rule::Rule;

mod keys;
#[cfg(test)]
mod tests;

use self::keys::Key;

/// The newest events are kept, this many.
const KEPT_EVENTS: usize = 1_000;
/// Most events that wait for one webhook; the oldest are given up.
const MAX_WAITING: usize = 10_000;

/// The alerts of a pipeline. What has changed is part of the next commit.
#[derive(Debug)]
pub(crate) struct Book {
    pipeline: String,
    pub(crate) rules: Arc<[Rule]>,
    /// By series, for each rule.
    machines: Vec<BTreeMap<String, Machine>>,
    events: BTreeMap<u64, Event>,
    /// By number, for each URL.
    waiting: BTreeMap<String, BTreeMap<u64, Delivery>>,
    /// The number of the next event.
    next: u64,
    /// Events below this number are committed.
    committed: u64,
    /// Alerts that differ from what the queue has in their newest row only.
    moved: BTreeSet<(usize, String)>,
    /// Values to put, or none for keys to delete.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// What a commit writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) puts: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) deletes: Vec<Vec<u8>>,
}

impl Book {
    /// Reads the state in the queue. What can't be read, and what is about rules that are no more, is deleted by
    /// the next commit.
    pub(crate) fn load(pipeline: &str, rules: Arc<[Rule]>, state: State) -> Self {
        let urls = rules.iter().flat_map(|rule| rule.webhooks.iter().cloned());
        let mut book = Self {
            pipeline: pipeline.to_owned(),
            machines: vec![BTreeMap::new(); rules.len()],
            waiting: urls.map(|url| (url, BTreeMap::new())).collect(),
            rules,
            events: BTreeMap::new(),
            next: 0,
            committed: 0,
            moved: BTreeSet::new(),
            changes: BTreeMap::new(),
        };
        let mut removed = 0;
        for (key, value) in state {
            match book.read(&key, &value) {
                Ok(true) => continue,
                Ok(false) => removed += 1,
                Err(error) => tracing::error!(
                    pipeline,
                    key = String::from_utf8_lossy(&key).as_ref(),
                    error,
                    "an entry of the state of the alerts can't be read; it is deleted"
                ),
            }
            book.changes.insert(key, None);
        }
        if removed > 0 {
            tracing::info!(
                pipeline,
                entries = removed,
                "alerts or webhooks that the pipeline's file no longer has are forgotten"
            );
        }
        book.committed = book.next;
        book
    }

    /// Takes over an entry. False if it is about a rule that is no more.
    fn read(&mut self, key: &[u8], value: &[u8]) -> Result<bool, String> {
        let text = |error: serde_json::Error| error.to_string();
        match Key::read(key).ok_or("the key is unknown")? {
            Key::Machine {
                alert,
                field,
                series,
            } => {
                let machine = serde_json::from_slice(value).map_err(text)?;
                let mut rules = self.rules.iter();
                let Some(place) = rules.position(|rule| rule.name == alert && rule.field == field)
                else {
                    return Ok(false);
                };
                self.machines[place].insert(series, machine);
            }
            Key::Event(number) => {
                let event = serde_json::from_slice(value).map_err(text)?;
                self.events.insert(number, event);
                self.next = self.next.max(number + 1);
            }
            Key::Waiting(number, url) => {
                let delivery = serde_json::from_slice(value).map_err(text)?;
                self.next = self.next.max(number + 1);
                let Some(waiting) = self.waiting.get_mut(&url) else {
                    return Ok(false);
                };
                waiting.insert(number, delivery);
            }
        }
        Ok(true)
    }

    /// The alert of a series, if one of its rows has been evaluated.
    pub(crate) fn machine(&self, rule: usize, series: &str) -> Option<&Machine> {
        self.machines[rule].get(series)
    }

    /// Evaluates a row. A new series begins with `first`.
    pub(crate) fn take(
        &mut self,
        rule: usize,
        series: &str,
        first: &Machine,
        (time, value): (Timestamp, Option<f64>),
        now: Timestamp,
    ) {
        let rules = Arc::clone(&self.rules);
        let before = self.machines[rule].get(series).cloned();
        let mut machine = before.clone().unwrap_or_else(|| first.begun_at(time));
        let transitions = machine.take(&rules[rule], time, value, now);
        if before.as_ref() == Some(&machine) {
            return;
        }
        if before.is_some_and(|before| machine.only_moved_from(&before)) {
            self.moved.insert((rule, series.to_owned()));
            self.machines[rule].insert(series.to_owned(), machine);
            return;
        }
        self.put_machine(rule, series, machine);
        for transition in transitions {
            self.report(&rules[rule], series, &transition, now);
        }
    }

    /// Reports series that are stale; no series was watched before `watched_since`.
    pub(crate) fn check_stale(&mut self, now: Timestamp, watched_since: Timestamp) {
        let rules = Arc::clone(&self.rules);
        self.change_all(now, |place, _, machine| {
            machine.check_stale(&rules[place], now, watched_since)
        });
    }

    /// Ends the alerts of the series that have no rows of the rule's field any more.
    pub(crate) fn keep_only(&mut self, rule: usize, series: &BTreeSet<&str>, now: Timestamp) {
        let is_gone = |known: &str| !series.contains(known);
        self.change_all(now, |place, known, machine| {
            let is_its = place == rule && is_gone(known);
            is_its.then(|| machine.end(now)).flatten()
        });
        let machines = &mut self.machines[rule];
        let gone: Vec<_> = machines
            .keys()
            .filter(|known| is_gone(known))
            .cloned()
            .collect();
        for series in gone {
            machines.remove(&series);
            let key = keys::machine(&self.rules[rule], &series);
            self.changes.insert(key, None);
            self.moved.remove(&(rule, series));
        }
    }

    fn change_all(
        &mut self,
        now: Timestamp,
        change: impl Fn(usize, &str, &mut Machine) -> Option<Transition>,
    ) {
        let mut changed = Vec::new();
        for (place, machines) in self.machines.iter_mut().enumerate() {
            for (series, machine) in machines {
                if let Some(transition) = change(place, series, machine) {
                    changed.push((place, series.clone(), machine.clone(), transition));
                }
            }
        }
        let rules = Arc::clone(&self.rules);
        for (place, series, machine, transition) in changed {
            self.put_machine(place, &series, machine);
            self.report(&rules[place], &series, &transition, now);
        }
    }

    fn put_machine(&mut self, rule: usize, series: &str, machine: Machine) {
        let key = keys::machine(&self.rules[rule], series);
        self.changes.insert(key, Some(keys::json(&machine)));
        self.moved.remove(&(rule, series.to_owned()));
        self.machines[rule].insert(series.to_owned(), machine);
    }

    fn report(&mut self, rule: &Rule, series: &str, transition: &Transition, now: Timestamp) {
        let number = self.next;
        self.next += 1;
        let event = Event::new(&self.pipeline, rule, series, tags_of(series), transition);
        self.changes
            .insert(keys::event(number), Some(keys::json(&event)));
        for url in &rule.webhooks {
            let delivery = Delivery {
                created: now.nanos(),
                event: event.clone(),
            };
            let key = keys::waiting(number, url);
            self.changes.insert(key, Some(keys::json(&delivery)));
            let waiting = self.waiting.entry(url.clone()).or_default();
            waiting.insert(number, delivery);
        }
        self.events.insert(number, event);
        while self.events.len() > KEPT_EVENTS
            && let Some((oldest, _)) = self.events.pop_first()
        {
            self.changes.insert(keys::event(oldest), None);
        }
    }

    /// Gives up the oldest events of webhooks for which too many wait. Returns how many.
    pub(crate) fn give_up_oldest(&mut self) -> usize {
        let mut given_up = 0;
        for (url, waiting) in &mut self.waiting {
            while waiting.len() > MAX_WAITING
                && let Some((oldest, _)) = waiting.pop_first()
            {
                self.changes.insert(keys::waiting(oldest, url), None);
                given_up += 1;
            }
        }
        given_up
    }

    /// The webhooks.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &String> {
        self.waiting.keys()
    }

    /// The oldest event that waits for a webhook and is committed.
    pub(crate) fn next_for(&self, url: &str) -> Option<(u64, &Delivery)> {
        let (number, delivery) = self.waiting.get(url)?.first_key_value()?;
        (*number < self.committed).then_some((*number, delivery))
    }

    /// A webhook has taken an event, or it was given up.
    pub(crate) fn done(&mut self, url: &str, number: u64) {
        let waiting = self.waiting.get_mut(url);
        if waiting.is_some_and(|waiting| waiting.remove(&number).is_some()) {
            self.changes.insert(keys::waiting(number, url), None);
        }
    }

    /// Makes the newest rows of all alerts a part of the next commit. Without it, a restart evaluates rows again that
    /// changed nothing.
    pub(crate) fn write_moved(&mut self) {
        for (rule, series) in std::mem::take(&mut self.moved) {
            if let Some(machine) = self.machines[rule].get(&series).cloned() {
                self.put_machine(rule, &series, machine);
            }
        }
    }

    /// What the next commit writes; `None` if nothing has changed.
    pub(crate) fn changes(&self) -> Option<Written> {
        let mut written = Written::default();
        for (key, value) in &self.changes {
            match value {
                Some(value) => written.puts.push((key.clone(), value.clone())),
                None => written.deletes.push(key.clone()),
            }
        }
        (written != Written::default()).then_some(written)
    }

    /// All changes are committed. Returns the new events.
    pub(crate) fn committed(&mut self) -> impl Iterator<Item = &Event> {
        self.changes.clear();
        let new = self.committed..self.next;
        self.committed = self.next;
        self.events.range(new).map(|(_, event)| event)
    }

    /// The committed events, the newest first.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values().rev()
    }

    /// All alerts with their rules and series.
    pub(crate) fn machines(&self) -> impl Iterator<Item = (&Rule, &str, &Machine)> {
        let all = self.rules.iter().zip(&self.machines);
        all.flat_map(|(rule, machines)| {
            let machines = machines.iter();
            machines.map(move |(series, machine)| (rule, series.as_str(), machine))
        })
    }

    /// How many alerts are firing.
    pub(crate) fn firing(&self) -> usize {
        let firing = |(_, _, machine): &(_, _, &Machine)| machine.state == AlertState::Firing;
        self.machines().filter(firing).count()
    }
}

/// The tags of a series, by its key.
pub(crate) fn tags_of(series: &str) -> BTreeMap<String, String> {
    let tags = Layout::Tagged.tags(series).unwrap_or_default();
    let pairs = tags.into_iter();
    pairs
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}
