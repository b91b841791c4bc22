//! A queue whose answers get lost on the way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::{Append, Appended, Commit, Lease, Peek, Progress, Queue, QueueError, Snapshot, State};
use model::Stage;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out, the answer is lost.
    Applied,
    /// It never arrives.
    Dropped,
    /// It arrives after the number has been read, when it is sent again.
    Delayed,
    /// It waits until [`Lossy::let_go`], and is answered then.
    Held,
    /// Nothing special.
    Answered,
}

/// Gives the first calls their fates, one each; those that come later are answered.
#[derive(Debug, Clone)]
pub struct Lossy<Q> {
    inner: Q,
    of: Of,
    plan: Arc<Plan>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Commits,
    Appends,
}

#[derive(Debug)]
struct Plan {
    /// The next one last.
    fates: Mutex<Vec<Fate>>,
    calls: AtomicUsize,
    /// Calls that came to the door, and leaves to go through it.
    came: Semaphore,
    leaves: Semaphore,
}

impl<Q: Queue> Lossy<Q> {
    /// The fates are those of commits.
    #[must_use]
    pub fn new(inner: Q, fates: &[Fate]) -> Self {
        Self::with(inner, Of::Commits, fates)
    }

    /// The fates are those of appends.
    #[must_use]
    pub fn of_appends(inner: Q, fates: &[Fate]) -> Self {
        Self::with(inner, Of::Appends, fates)
    }

    fn with(inner: Q, of: Of, fates: &[Fate]) -> Self {
        let plan = Arc::new(Plan {
            fates: Mutex::new(fates.iter().rev().copied().collect()),
            calls: AtomicUsize::new(0),
            came: Semaphore::new(0),
            leaves: Semaphore::new(0),
        });
        Self { inner, of, plan }
    }

    /// How many calls there were that could have had a fate.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.plan.calls.load(Ordering::SeqCst)
    }

    /// Waits for a call that is [`Fate::Held`].
    pub async fn held(&self) {
        let came = tokio::time::timeout(super::PATIENCE, self.plan.came.acquire()).await;
        came.expect("no call came").unwrap().forget();
    }

    /// Lets a held call go on.
    pub fn let_go(&self) {
        self.plan.leaves.add_permits(1);
    }
}

impl Plan {
    async fn fated<T, F>(&self, call: impl Fn() -> F + Send) -> Result<T, QueueError>
    where
        F: Future<Output = Result<T, QueueError>> + Send + 'static,
        T: Send,
    {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let fate = self.fates.lock().unwrap().pop().unwrap_or(Fate::Answered);
        match fate {
            Fate::Answered => return call().await,
            Fate::Held => {
                self.came.add_permits(1);
                self.leaves.acquire().await.unwrap().forget();
                return call().await;
            }
            Fate::Applied => drop(call().await?),
            Fate::Dropped => {}
            Fate::Delayed => {
                self.fates.lock().unwrap().push(Fate::Applied);
                let late = call();
                tokio::spawn(async move {
                    // Long after the number was read; whichever comes second is refused.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    drop(late.await);
                });
            }
        }
        Err(QueueError::Unknown("the answer was lost".into()))
    }
}

impl<Q: Queue> Queue for Lossy<Q> {
    async fn append(&self, append: &Append) -> Result<Appended, QueueError> {
        if self.of != Of::Appends {
            return self.inner.append(append).await;
        }
        let call = || {
            let (queue, append) = (self.inner.clone(), append.clone());
            async move { queue.append(&append).await }
        };
        self.plan.fated(call).await
    }

    async fn commit(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        if self.of != Of::Commits {
            return self.inner.commit(lease, commit).await;
        }
        let call = || {
            let (queue, lease, commit) = (self.inner.clone(), lease.clone(), commit.clone());
            async move { queue.commit(&lease, &commit).await }
        };
        self.plan.fated(call).await
    }

    async fn lease(
        &self,
        consumer: Stage,
        nonce: &str,
        limit: Duration,
    ) -> Result<Option<Lease>, QueueError> {
        self.inner.lease(consumer, nonce, limit).await
    }
    async fn renew(&self, lease: &Lease) -> Result<(), QueueError> {
        self.inner.renew(lease).await
    }
    async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        self.inner.release(lease).await
    }
    async fn state(&self, lease: &Lease) -> Result<State, QueueError> {
        self.inner.state(lease).await
    }
    async fn peek(&self, lease: &Lease, max: usize) -> Result<Peek, QueueError> {
        self.inner.peek(lease, max).await
    }
    async fn progress(&self, consumer: Stage) -> Result<Progress, QueueError> {
        self.inner.progress(consumer).await
    }
    async fn snapshot(&self) -> Result<Snapshot, QueueError> {
        self.inner.snapshot().await
    }
}
