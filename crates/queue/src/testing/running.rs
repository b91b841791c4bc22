//! A stage in the test's own process.

use std::fmt::Debug;
use std::time::Duration;

use common::clock::Clock;
use common::harness::Process;
use common::health::{DependencyReport, Status};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{POLL, WAIT_LIMIT};

/// How long a stage may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A stage's `run` as a task, which is aborted when this is dropped.
#[derive(Debug)]
pub struct Running {
    process: Process,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a stage with the system's clock.
    pub fn start<F, E>(run: impl FnOnce(Process) -> F) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Debug,
    {
        Self::start_at(Clock::system(), run)
    }

    /// Starts a stage with another clock.
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
        let task = tokio::spawn(async move { stage.await.expect("the stage failed") });
        Self { process, task }
    }

    /// Stops the stage, as SIGTERM does. Panics if that takes too long.
    pub async fn stop(mut self) {
        self.process.stop.cancel();
        let ended = timeout(STOP_LIMIT, &mut self.task).await;
        ended
            .expect("the stage didn't stop in time")
            .expect("the stage panicked");
    }

    /// Aborts the stage at its next await, similar to SIGKILL.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Whether the stage reports that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let report = self.process.health.report();
        // The stage reports no dependencies before its first step.
        report.ready && !report.dependencies.is_empty()
    }

    /// Waits until the stage is ready.
    pub async fn ready(&self) {
        self.wait("ready", || self.is_ready()).await;
    }

    /// Whether a dependency of the stage is in this state.
    #[must_use]
    pub fn is(&self, name: &str, state: Status) -> bool {
        self.dependency(name)
            .is_some_and(|found| found.state == state)
    }

    /// Waits until a dependency is in this state. Returns its last error.
    pub async fn until(&self, name: &str, state: Status) -> String {
        let what = format!("{name} {state:?}");
        self.wait(&what, || self.is(name, state)).await;
        self.last_error(name).unwrap_or_default()
    }

    /// The last error of a dependency, even if it has recovered.
    #[must_use]
    pub fn last_error(&self, name: &str) -> Option<String> {
        self.dependency(name)?.last_error
    }

    fn dependency(&self, name: &str) -> Option<DependencyReport> {
        let report = self.process.health.report();
        let mut all = report.dependencies.into_iter();
        all.find(|dependency| dependency.name == name)
    }

    async fn wait(&self, what: &str, is_true: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_true() {
            assert!(
                started.elapsed() < WAIT_LIMIT && !self.task.is_finished(),
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
