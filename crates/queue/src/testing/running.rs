//! A stage that runs in the test's own process.

use std::fmt::Debug;
use std::time::Duration;

use common::clock::Clock;
use common::harness::Process;
use common::health::{DependencyReport, Status};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{PATIENCE, POLL};

/// How long a stage may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A stage's `run` as a task; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    process: Process,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a stage, with the machine's clock.
    pub fn start<F, E>(run: impl FnOnce(Process) -> F) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Debug,
    {
        Self::start_at(Clock::system(), run)
    }

    /// Starts a stage that goes by another clock.
    pub fn start_at<F, E>(clock: Clock, run: impl FnOnce(Process) -> F) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Debug,
    {
        let process = Process {
            clock,
            ..Process::default()
        };
        let stage = run(process.clone());
        let task = tokio::spawn(async move { stage.await.expect("a stage ended badly") });
        Self { process, task }
    }

    /// As SIGTERM does; fails if it takes longer than it may.
    pub async fn stop(mut self) {
        self.process.stop.cancel();
        let ended = timeout(STOP_LIMIT, &mut self.task).await;
        ended
            .expect("not stopped in time")
            .expect("a stage panicked");
    }

    /// As SIGKILL does: whatever it is at, it comes no further than its next wait.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Whether the stage says that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let report = self.process.health.report();
        // Before its first step it hasn't said yet what it depends on.
        report.ready && !report.dependencies.is_empty()
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        self.wait("ready", || self.is_ready()).await;
    }

    /// Whether something that the stage depends on is in this state.
    #[must_use]
    pub fn is(&self, name: &str, state: Status) -> bool {
        self.of(name).is_some_and(|found| found.state == state)
    }

    /// Waits until it is so; returns the last error.
    pub async fn until(&self, name: &str, state: Status) -> String {
        let what = format!("{name} {state:?}");
        self.wait(&what, || self.is(name, state)).await;
        self.last_error(name).unwrap_or_default()
    }

    /// What was last wrong with it, also if it has recovered since.
    #[must_use]
    pub fn last_error(&self, name: &str) -> Option<String> {
        self.of(name)?.last_error
    }

    fn of(&self, name: &str) -> Option<DependencyReport> {
        let report = self.process.health.report();
        let mut all = report.dependencies.into_iter();
        all.find(|dependency| dependency.name == name)
    }

    async fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(
                started.elapsed() < PATIENCE && !self.task.is_finished(),
                "not {what}: {:#?}",
                self.process.health.report()
            );
            sleep(POLL).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
