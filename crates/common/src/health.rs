//! What a stage knows about itself and about the things it needs.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use serde::Serialize;

use crate::metric;

/// A main loop that hasn't ticked for this long counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// The name of the dependency that a standby needs, too.
pub const QUEUE: &str = "queue";
/// How often work that takes its time ticks.
const TICK_EVERY: Duration = Duration::from_secs(1);
/// While a dependency stays down, its error is logged again only this often.
const REPEAT_LOG: Duration = Duration::from_secs(30);
/// And another error, or the next fall after a rise, only this often.
const NEWS_LOG: Duration = Duration::from_secs(5);

/// The health of one process, or of a stage in a process of several; clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Whose it is; empty in tests.
    stage: &'static str,
    started: Instant,
    last_tick_ms: AtomicU64,
    dependencies: Mutex<Vec<Dependency>>,
    parts: Mutex<Vec<Health>>,
}

impl Default for Health {
    fn default() -> Self {
        Self::of("")
    }
}

impl Health {
    /// That of the process of this stage.
    #[must_use]
    pub fn of(stage: &'static str) -> Self {
        Self {
            inner: Arc::new(Inner {
                stage,
                started: Instant::now(),
                last_tick_ms: AtomicU64::new(0),
                dependencies: Mutex::default(),
                parts: Mutex::default(),
            }),
        }
    }

    /// That of a stage that runs in this process beside others: the whole is as well as its parts.
    #[must_use]
    pub fn part(&self, stage: &'static str) -> Self {
        let part = Self::of(stage);
        lock(&self.inner.parts).push(part.clone());
        part
    }

    /// The main loop is alive; call it at least every few seconds.
    pub fn tick(&self) {
        let ms = u64::try_from(self.inner.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.inner.last_tick_ms.store(ms, Ordering::Relaxed);
    }

    /// Ticks on, beside work that takes its time but is bounded or shows its own errors.
    pub async fn tick_for_ever(&self) -> Infallible {
        loop {
            self.tick();
            tokio::time::sleep(TICK_EVERY).await;
        }
    }

    /// How long ago the main loop ticked; of several the one for which it is longest ago.
    #[must_use]
    pub fn since_tick(&self) -> Duration {
        let last = Duration::from_millis(self.inner.last_tick_ms.load(Ordering::Relaxed));
        let own = self.inner.started.elapsed().saturating_sub(last);
        let parts = lock(&self.inner.parts);
        parts.iter().map(Self::since_tick).fold(own, Duration::max)
    }

    /// Whether the main loop has ticked lately.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.since_tick() < STUCK_AFTER
    }

    /// Adds a dependency, not up yet.
    #[must_use]
    pub fn dependency(&self, name: &'static str) -> Dependency {
        let dependency = Dependency {
            name,
            stage: self.inner.stage,
            state: Arc::new(Mutex::new(State::default())),
        };
        dependency.show(0.0);
        lock(&self.inner.dependencies).push(dependency.clone());
        dependency
    }

    /// The state of every dependency.
    #[must_use]
    pub fn report(&self) -> Report {
        let own = lock(&self.inner.dependencies);
        let mut dependencies: Vec<_> = own.iter().map(Dependency::report).collect();
        drop(own);
        // A standby asks for nothing but the queue; of the rest it knows at best how it once was.
        let stands_by = dependencies.iter().any(|d| d.state == "standby");
        let counts = |d: &&DependencyReport| !stands_by || d.name == QUEUE;
        let all_up = dependencies.iter().filter(counts).all(|d| d.state == "up");
        let parts = lock(&self.inner.parts);
        let mut ready = all_up && !(dependencies.is_empty() && parts.is_empty());
        for part in parts.iter() {
            let report = part.report();
            ready &= report.ready;
            dependencies.extend(report.dependencies);
        }
        Report {
            ready,
            dependencies,
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `/readyz` shows.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether all dependencies are up.
    pub ready: bool,
    /// Each of them.
    pub dependencies: Vec<DependencyReport>,
}

/// One line of a [`Report`].
#[derive(Debug, Serialize)]
pub struct DependencyReport {
    /// What is depended on.
    pub name: &'static str,
    /// `waiting`, `up`, `standby` or `down`.
    pub state: &'static str,
    /// How long it has been in this state, in seconds.
    pub for_seconds: u64,
    /// Which stage depends on it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub stage: &'static str,
    /// The last error, kept after recovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Status {
    #[default]
    Waiting,
    Up,
    Standby,
    Down,
}

#[derive(Debug)]
struct State {
    status: Status,
    since: Instant,
    last_error: Option<String>,
    last_logged: Option<Instant>,
    /// Errors since then.
    unlogged: u64,
    /// It was logged as down, so its coming up is to be logged, too.
    announced: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            status: Status::default(),
            since: Instant::now(),
            last_error: None,
            last_logged: None,
            unlogged: 0,
            announced: false,
        }
    }
}

/// Something a stage needs (a server, a lease, a clock that agrees). Logs its ups and downs,
/// repeated errors at most every 30 s; clones share the state.
#[derive(Debug, Clone)]
pub struct Dependency {
    name: &'static str,
    stage: &'static str,
    state: Arc<Mutex<State>>,
}

impl Dependency {
    /// A dependency that no [`Health`] reports, for tests and one-off tools.
    #[must_use]
    pub fn unreported(name: &'static str) -> Self {
        Health::default().dependency(name)
    }

    /// It works.
    pub fn up(&self) {
        let mut state = self.lock();
        if state.status == Status::Up {
            return;
        }
        // One that goes up and down all the time is news only as often as its downs are.
        if state.announced || state.status == Status::Waiting {
            tracing::info!(dependency = self.name, stage = self.stage, "up");
            state.announced = false;
        }
        self.show(1.0);
        state.enter(Status::Up);
    }

    /// It is held by another replica, and this one waits for its turn: no fault.
    pub fn standby(&self) {
        let mut state = self.lock();
        if state.status != Status::Standby {
            tracing::info!(
                dependency = self.name,
                stage = self.stage,
                "another replica holds it, waiting as standby"
            );
            state.enter(Status::Standby);
        }
    }

    /// It doesn't work, for this reason; the caller will try again.
    pub fn down(&self, error: &dyn Display) {
        counter!(metric::RETRIES, "stage" => self.stage, "dependency" => self.name).increment(1);
        let error = error.to_string();
        let mut state = self.lock();
        let news = state.status != Status::Down || state.last_error.as_ref() != Some(&error);
        let due = state
            .last_logged
            .is_none_or(|logged| logged.elapsed() >= if news { NEWS_LOG } else { REPEAT_LOG });
        if due {
            tracing::warn!(
                dependency = self.name,
                stage = self.stage,
                error,
                repeats = state.unlogged,
                "down"
            );
            state.last_logged = Some(Instant::now());
            state.unlogged = 0;
            state.announced = true;
        } else {
            state.unlogged += 1;
        }
        if state.status != Status::Down {
            self.show(0.0);
            state.enter(Status::Down);
        }
        state.last_error = Some(error);
    }

    fn report(&self) -> DependencyReport {
        let state = self.lock();
        DependencyReport {
            name: self.name,
            state: match state.status {
                Status::Waiting => "waiting",
                Status::Up => "up",
                Status::Standby => "standby",
                Status::Down => "down",
            },
            for_seconds: state.since.elapsed().as_secs(),
            stage: self.stage,
            last_error: state.last_error.clone(),
        }
    }

    fn show(&self, up: f64) {
        let labels = [("stage", self.stage), ("dependency", self.name)];
        gauge!(metric::DEPENDENCY_UP, &labels).set(up);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn enter(&mut self, status: Status) {
        self.status = status;
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::{Health, QUEUE};

    #[test]
    fn ready_when_every_dependency_is_up_or_standby() {
        let health = Health::default();
        assert!(!health.report().ready, "nothing is known yet");
        let (queue, lease) = (health.dependency(QUEUE), health.dependency("lease"));
        let store = health.dependency("store");
        assert!(!health.report().ready);
        queue.up();
        lease.standby();
        assert!(health.report().ready, "its turn at the store hasn't come");
        store.down(&"away");
        assert!(health.report().ready, "nobody asks the store now");
        lease.up();
        assert!(!health.report().ready);
        store.up();
        assert!(health.report().ready);
        queue.down(&"connection refused");
        let report = health.report();
        assert!(!report.ready);
        assert_eq!(
            report.dependencies[0].last_error.as_deref(),
            Some("connection refused")
        );
        queue.up();
        assert!(health.report().ready);
    }

    #[test]
    fn a_process_of_several_stages_is_ready_when_all_of_them_are() {
        let process = Health::of("up");
        let (ingester, sink) = (process.part("ingester"), process.part("sink"));
        let lease = ingester.dependency("lease");
        let store = sink.dependency("store");
        lease.up();
        assert!(!process.report().ready);
        store.up();
        let report = process.report();
        assert!(report.ready);
        let stages: Vec<_> = report.dependencies.iter().map(|d| d.stage).collect();
        assert_eq!(stages, ["ingester", "sink"]);
        store.down(&"full");
        assert!(!process.report().ready);
    }

    #[test]
    fn a_fresh_process_is_live() {
        let health = Health::default();
        health.tick();
        assert!(health.is_live());
    }
}
