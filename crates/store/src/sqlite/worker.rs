//! A thread that does jobs one after another.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::{fmt, io};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Jobs that wait for a thread; each caller waits for its answer, so this is about callers.
const WAITING: usize = 64;

/// A handle to the thread; dropping it waits until the thread has done what it has begun.
pub(super) struct Worker<J> {
    jobs: Option<Sender<Waiting<J>>>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

/// A job, and its place among those that wait.
pub(super) struct Waiting<J> {
    pub(super) job: J,
    _place: OwnedSemaphorePermit,
}

/// The thread has ended, which only a defect of ours can make it do.
#[derive(Debug)]
pub(super) struct Gone;

impl<J: Send + 'static> Worker<J> {
    /// Starts a thread that gets the jobs; it has to end when no more can come.
    pub(super) fn start(
        name: &str,
        run: impl FnOnce(Receiver<Waiting<J>>) + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || run(waiting))?;
        Ok(Self {
            jobs: Some(jobs),
            room: Arc::new(Semaphore::new(WAITING)),
            thread: Some(thread),
        })
    }

    /// Hands a job over, as soon as there is room for one more.
    pub(super) async fn send(&self, job: J) -> Result<(), Gone> {
        let place = self.room.clone().acquire_owned().await.map_err(|_| Gone)?;
        let waiting = Waiting { job, _place: place };
        let jobs = self.jobs.as_ref().ok_or(Gone)?;
        jobs.send(waiting).map_err(|_| Gone)
    }
}

impl<J> fmt::Debug for Worker<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl<J> Drop for Worker<J> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}
