//! A thread that works off jobs one after another.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::{fmt, io};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Jobs that may wait for a thread. Each caller waits for its answer, so this bounds callers.
const WAITING: usize = 64;

/// A handle to the thread; dropping it waits until the thread has finished the jobs it was given.
pub struct Worker<J> {
    jobs: Option<Sender<Job<J>>>,
    places: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

/// A job, and its place among the waiting ones.
#[derive(Debug)]
pub struct Job<J> {
    /// What to do.
    pub job: J,
    _place: OwnedSemaphorePermit,
}

/// The thread has ended, which only a defect can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database thread has ended")]
pub struct Stopped;

impl<J: Send + 'static> Worker<J> {
    /// Starts a thread that receives the jobs; it has to end when no more can come.
    pub fn start(
        name: &str,
        run: impl FnOnce(Receiver<Job<J>>) + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || run(waiting))?;
        Ok(Self {
            jobs: Some(jobs),
            places: Arc::new(Semaphore::new(WAITING)),
            thread: Some(thread),
        })
    }

    /// Hands a job over as soon as one more may wait.
    pub async fn send(&self, job: J) -> Result<(), Stopped> {
        let places = Arc::clone(&self.places);
        let place = places.acquire_owned().await.map_err(|_| Stopped)?;
        let jobs = self.jobs.as_ref().ok_or(Stopped)?;
        jobs.send(Job { job, _place: place }).map_err(|_| Stopped)
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
            // After a panic there is nothing more to wait for.
            let _ = thread.join();
        }
    }
}
