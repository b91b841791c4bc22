//! The health of a stage: whether its main loop runs, and the state of its dependencies.

use std::borrow::Cow;
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
/// How often long work ticks.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the same error of a dependency is logged while it stays down.
const REPEAT_LOG_INTERVAL: Duration = Duration::from_secs(30);
/// How often a dependency's new error, or its next failure after a recovery, is logged.
const CHANGE_LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The health of one process, or of a stage in a process of several; clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The stage's name; empty in tests.
    stage: Arc<str>,
    started: Instant,
    last_tick_ms: AtomicU64,
    dependencies: Mutex<Vec<Dependency>>,
    /// The stages that run in this process.
    stages: Mutex<Vec<Health>>,
    /// Stages of other processes.
    observed: Mutex<Vec<Health>>,
}

impl Default for Health {
    fn default() -> Self {
        Self::for_stage("")
    }
}

impl Health {
    /// The health of a stage.
    #[must_use]
    pub fn for_stage(stage: impl Into<Arc<str>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                stage: stage.into(),
                started: Instant::now(),
                last_tick_ms: AtomicU64::new(0),
                dependencies: Mutex::default(),
                stages: Mutex::default(),
                observed: Mutex::default(),
            }),
        }
    }

    /// Adds the health of a stage that runs in this process. The process is live and ready only if
    /// each of its stages is.
    #[must_use]
    pub fn add_stage(&self, stage: impl Into<Arc<str>>) -> Self {
        let added = Self::for_stage(stage);
        lock(&self.inner.stages).push(added.clone());
        added
    }

    /// Adds the health of a stage that runs in another process. It is reported, but this process is ready
    /// without it.
    #[must_use]
    pub fn add_observed_stage(&self, stage: impl Into<Arc<str>>) -> Self {
        let added = Self::for_stage(stage);
        lock(&self.inner.observed).push(added.clone());
        added
    }

    /// The stage's name; empty in tests.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.inner.stage
    }

    /// Records that the main loop runs. Call it at least every few seconds.
    pub fn tick(&self) {
        let ms = u64::try_from(self.inner.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.inner.last_tick_ms.store(ms, Ordering::Relaxed);
    }

    /// Ticks until it is dropped, beside long work that is bounded or reports its own errors.
    pub async fn tick_for_ever(&self) -> Infallible {
        loop {
            self.tick();
            tokio::time::sleep(TICK_INTERVAL).await;
        }
    }

    /// How long ago the main loop ticked; with several stages, the longest of their times.
    #[must_use]
    pub fn since_tick(&self) -> Duration {
        let last = Duration::from_millis(self.inner.last_tick_ms.load(Ordering::Relaxed));
        let own = self.inner.started.elapsed().saturating_sub(last);
        let stages = lock(&self.inner.stages);
        stages.iter().map(Self::since_tick).fold(own, Duration::max)
    }

    /// Whether the main loop has ticked within 30 s.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.since_tick() < STUCK_AFTER
    }

    /// Adds a dependency in the state [`Status::Waiting`].
    #[must_use]
    pub fn dependency(&self, name: impl Into<Cow<'static, str>>) -> Dependency {
        let dependency = Dependency {
            name: name.into(),
            stage: Arc::clone(&self.inner.stage),
            state: Arc::new(Mutex::new(State::default())),
        };
        dependency.set_gauge(0.0);
        lock(&self.inner.dependencies).push(dependency.clone());
        dependency
    }

    /// The state of every dependency.
    #[must_use]
    pub fn report(&self) -> Report {
        let own = lock(&self.inner.dependencies);
        let mut dependencies: Vec<_> = own.iter().map(Dependency::report).collect();
        drop(own);
        // A standby uses only the queue. The states of its other dependencies may be out of date.
        let is_standby = dependencies.iter().any(|d| d.state == Status::Standby);
        let counts = |d: &&DependencyReport| !is_standby || d.name == QUEUE;
        let all_up = dependencies
            .iter()
            .filter(counts)
            .all(|d| d.state == Status::Up);
        let stages = lock(&self.inner.stages);
        let mut ready = all_up && !(dependencies.is_empty() && stages.is_empty());
        for stage in stages.iter() {
            let report = stage.report();
            ready &= report.ready;
            dependencies.extend(report.dependencies);
        }
        let observed = lock(&self.inner.observed);
        dependencies.extend(
            observed
                .iter()
                .flat_map(|stage| stage.report().dependencies),
        );
        Report {
            ready,
            dependencies,
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether all dependencies are up.
    pub ready: bool,
    /// All dependencies.
    pub dependencies: Vec<DependencyReport>,
}

/// A dependency in a [`Report`].
#[derive(Debug, Serialize)]
pub struct DependencyReport {
    /// The dependency's name.
    pub name: Cow<'static, str>,
    /// Its state.
    pub state: Status,
    /// How long it has been in this state, in seconds.
    pub for_seconds: u64,
    /// The stage that depends on it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub stage: String,
    /// The last error, kept after recovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How often it failed since the start of the process. Metrics have it, so `/readyz` leaves it out.
    #[serde(skip)]
    pub failures: u64,
}

/// The state of a dependency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not tried yet.
    #[default]
    Waiting,
    /// It works.
    Up,
    /// Another replica holds it. Only leases have this state.
    Standby,
    /// It failed; the stage tries again.
    Down,
}

impl Status {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Up => "up",
            Self::Standby => "standby",
            Self::Down => "down",
        }
    }
}

#[derive(Debug)]
struct State {
    status: Status,
    since: Instant,
    last_error: Option<String>,
    failures: u64,
    last_logged: Option<Instant>,
    /// Errors since then.
    unlogged: u64,
    /// The failure was logged, so the recovery is logged, too.
    logged_down: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            status: Status::default(),
            since: Instant::now(),
            last_error: None,
            failures: 0,
            last_logged: None,
            unlogged: 0,
            logged_down: false,
        }
    }
}

/// Something that a stage needs (a server, a lease, a correct clock). Logs each change of its state,
/// and the same error at most every 30 s. Clones share the state.
#[derive(Debug, Clone)]
pub struct Dependency {
    name: Cow<'static, str>,
    stage: Arc<str>,
    state: Arc<Mutex<State>>,
}

impl Dependency {
    /// A dependency that no [`Health`] reports, for tests and commands.
    #[must_use]
    pub fn unreported(name: &'static str) -> Self {
        Health::default().dependency(name)
    }

    /// Sets the state [`Status::Up`].
    pub fn up(&self) {
        let mut state = self.lock();
        if state.status == Status::Up {
            return;
        }
        // The recoveries of a dependency that fails often are logged only as often as its failures.
        if state.logged_down || state.status == Status::Waiting {
            tracing::info!(dependency = &*self.name, stage = &*self.stage, "up");
            state.logged_down = false;
        }
        self.set_gauge(1.0);
        state.enter(Status::Up);
    }

    /// Sets the state [`Status::Standby`]: another replica holds it. This isn't an error.
    pub fn standby(&self) {
        let mut state = self.lock();
        if state.status != Status::Standby {
            tracing::info!(
                dependency = &*self.name,
                stage = &*self.stage,
                "another replica holds it, waiting as standby"
            );
            state.enter(Status::Standby);
        }
    }

    /// Sets the state [`Status::Down`] with the error. The caller tries again.
    pub fn down(&self, error: &dyn Display) {
        counter!(metric::RETRIES, "stage" => self.stage.to_string(), "dependency" => self.name.clone())
            .increment(1);
        let error = error.to_string();
        let mut state = self.lock();
        state.failures += 1;
        let changed = state.status != Status::Down || state.last_error.as_ref() != Some(&error);
        let due = state.last_logged.is_none_or(|logged| {
            logged.elapsed()
                >= if changed {
                    CHANGE_LOG_INTERVAL
                } else {
                    REPEAT_LOG_INTERVAL
                }
        });
        if due {
            tracing::warn!(
                dependency = &*self.name,
                stage = &*self.stage,
                error,
                repeats = state.unlogged,
                "down"
            );
            state.last_logged = Some(Instant::now());
            state.unlogged = 0;
            state.logged_down = true;
        } else {
            state.unlogged += 1;
        }
        if state.status != Status::Down {
            self.set_gauge(0.0);
            state.enter(Status::Down);
        }
        state.last_error = Some(error);
    }

    fn report(&self) -> DependencyReport {
        let state = self.lock();
        DependencyReport {
            name: self.name.clone(),
            state: state.status,
            for_seconds: state.since.elapsed().as_secs(),
            stage: self.stage.to_string(),
            last_error: state.last_error.clone(),
            failures: state.failures,
        }
    }

    fn set_gauge(&self, up: f64) {
        let labels = [
            ("stage", self.stage.to_string()),
            ("dependency", self.name.to_string()),
        ];
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
        assert!(!health.report().ready, "no dependency has been added");
        let (queue, lease) = (health.dependency(QUEUE), health.dependency("lease"));
        let store = health.dependency("store");
        assert!(!health.report().ready);
        queue.up();
        lease.standby();
        assert!(health.report().ready, "a standby doesn't use the store");
        store.down(&"away");
        assert!(health.report().ready, "a standby doesn't use the store");
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
        assert_eq!(report.dependencies[0].failures, 1);
        queue.up();
        assert!(health.report().ready);
    }

    #[test]
    fn stages_of_other_processes_are_reported_only() {
        let process = Health::for_stage("api");
        let sink = process.add_observed_stage("sink").dependency("process");
        let redis = process.dependency("redis");
        redis.up();
        sink.down(&"away");
        let report = process.report();
        assert!(report.ready);
        assert_eq!(report.dependencies[1].stage, "sink");
        assert_eq!(report.dependencies[1].state.name(), "down");
    }

    #[test]
    fn process_is_ready_when_all_its_stages_are() {
        let process = Health::for_stage("up");
        let (ingester, sink) = (process.add_stage("ingester"), process.add_stage("sink"));
        let lease = ingester.dependency("lease");
        let store = sink.dependency("store");
        lease.up();
        assert!(!process.report().ready);
        store.up();
        let report = process.report();
        assert!(report.ready);
        let stages: Vec<_> = report
            .dependencies
            .iter()
            .map(|d| d.stage.as_str())
            .collect();
        assert_eq!(stages, ["ingester", "sink"]);
        store.down(&"full");
        assert!(!process.report().ready);
    }

    #[test]
    fn fresh_process_is_live() {
        let health = Health::default();
        health.tick();
        assert!(health.is_live());
    }
}
