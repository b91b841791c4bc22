//! What is known of each series: its newest time, its windows, and which of its windows were let go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;

use super::Inconsistent;
use super::held::WindowId;

/// Before all times: no window was let go.
pub(super) const NEVER: Timestamp = Timestamp::from_nanos(i64::MIN);

/// A series that holds windows.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) key: Arc<str>,
    /// The latest time of its readings; of a reading from after its arrival, that of its arrival.
    pub(super) newest: Timestamp,
    /// Windows that end before this were let go.
    pub(super) floor: Timestamp,
    /// When its last reading arrived or its last row was emitted by a timer, since the lease was taken.
    pub(super) last_active: Duration,
    /// By their start.
    pub(super) windows: BTreeMap<Timestamp, WindowId>,
}

/// All series.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    active: HashMap<Arc<str>, Series>,
    /// When to check whether a series is idle, once for each. Its last activity decides, so an entry may
    /// be early.
    timers: BinaryHeap<Reverse<(Duration, Arc<str>)>>,
    remembered: Remembered,
}

impl SeriesTable {
    /// How many hold windows.
    pub(super) fn len(&self) -> usize {
        self.active.len()
    }

    pub(super) fn find(&self, key: &str) -> Option<&Series> {
        self.active.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Result<&mut Series, Inconsistent> {
        self.active.get_mut(key).ok_or(Inconsistent::NO_SERIES)
    }

    /// The windows of a series that end before this were let go; also if it isn't active.
    pub(super) fn floor(&self, key: &str) -> Timestamp {
        match self.active.get(key) {
            Some(series) => series.floor,
            None => self.remembered.get(key).unwrap_or(NEVER),
        }
    }

    /// The floor of a series as far as it has to be stored.
    pub(super) fn stored_floor(&self, key: &str) -> Option<Timestamp> {
        let active = self.active.get(key).map(|series| series.floor);
        active
            .or_else(|| self.remembered.get(key))
            .filter(|floor| *floor > NEVER)
    }

    /// The series of this key, which becomes active if it isn't.
    pub(super) fn activate(
        &mut self,
        key: &str,
        newest: Timestamp,
        now: Duration,
        idle: Duration,
    ) -> Result<&mut Series, Inconsistent> {
        if !self.active.contains_key(key) {
            let key: Arc<str> = Arc::from(key);
            let series = Series {
                key: Arc::clone(&key),
                newest,
                floor: self.remembered.remove(&key).unwrap_or(NEVER),
                last_active: now,
                windows: BTreeMap::new(),
            };
            self.active.insert(Arc::clone(&key), series);
            self.set_timer(now + idle, key);
        }
        self.get_mut(key)
    }

    /// Ends a series; it is remembered which of its windows were let go.
    pub(super) fn retire(&mut self, key: &Arc<str>, floor: Timestamp) {
        self.active.remove(key);
        self.remembered.insert(Arc::clone(key), floor);
    }

    /// The next series whose timer has run out, which loses it.
    pub(super) fn pop_timer(&mut self, now: Duration) -> Option<Arc<str>> {
        let Reverse((due, _)) = self.timers.peek()?;
        if *due > now {
            return None;
        }
        self.timers.pop().map(|Reverse((_, key))| key)
    }

    pub(super) fn set_timer(&mut self, due: Duration, key: Arc<str>) {
        self.timers.push(Reverse((due, key)));
    }

    /// Forgets series that aren't active: those whose readings would be older than `max_age` by now, and
    /// above `most` those that were silent first. Returns their keys.
    pub(super) fn forget_remembered(
        &mut self,
        now: Timestamp,
        max_age: Duration,
        most: usize,
    ) -> Vec<Arc<str>> {
        self.remembered.forget(now.minus(max_age), most)
    }

    /// Forgets all; returns the keys of those with a floor that may be stored.
    pub(super) fn take_all(&mut self) -> Vec<Arc<str>> {
        let Self {
            active, remembered, ..
        } = std::mem::take(self);
        let active = active.into_values().filter(|series| series.floor > NEVER);
        let remembered = remembered.floors.into_keys();
        active.map(|series| series.key).chain(remembered).collect()
    }
}

/// Series without windows: up to where their windows were let go.
#[derive(Debug, Default)]
struct Remembered {
    floors: HashMap<Arc<str>, Timestamp>,
    order: BTreeSet<(Timestamp, Arc<str>)>,
}

impl Remembered {
    fn get(&self, key: &str) -> Option<Timestamp> {
        self.floors.get(key).copied()
    }

    fn insert(&mut self, key: Arc<str>, floor: Timestamp) {
        self.remove(&key);
        self.floors.insert(Arc::clone(&key), floor);
        self.order.insert((floor, key));
    }

    fn remove(&mut self, key: &Arc<str>) -> Option<Timestamp> {
        let floor = self.floors.remove(key)?;
        self.order.remove(&(floor, Arc::clone(key)));
        Some(floor)
    }

    fn forget(&mut self, oldest: Timestamp, most: usize) -> Vec<Arc<str>> {
        let mut gone = Vec::new();
        while let Some((floor, _)) = self.order.first() {
            if *floor >= oldest && self.order.len() <= most {
                break;
            }
            if let Some((_, key)) = self.order.pop_first() {
                self.floors.remove(&key);
                gone.push(key);
            }
        }
        gone
    }
}
