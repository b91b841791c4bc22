//! A queue whose first calls have faults.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::{Append, Appended, Commit, Lease, Peek, Progress, Queue, QueueError, Snapshot, State};
use model::Stage;
use model::position::Positions;

/// How a call is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The call is applied, but the reply is lost.
    Applied,
    /// The call is lost.
    Dropped,
    /// The call arrives after the caller has read the number and resent it.
    Delayed,
    /// The call waits for [`FaultyQueue::release_call`].
    Held,
    /// The call has no fault.
    Answered,
}

/// A queue whose first commits or appends are delivered as given. Later calls have no faults.
#[derive(Debug, Clone)]
pub struct FaultyQueue<Q> {
    inner: Q,
    faulty: Calls,
    plan: Arc<Plan>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    Commits,
    Appends,
}

#[derive(Debug)]
struct Plan {
    /// In reverse order.
    deliveries: Mutex<Vec<Delivery>>,
    calls: AtomicUsize,
    /// A permit for each held call that has arrived, and for each that may go on.
    arrived: Semaphore,
    released: Semaphore,
}

impl<Q: Queue> FaultyQueue<Q> {
    /// Delivers the first commits as given.
    #[must_use]
    pub fn new(inner: Q, deliveries: &[Delivery]) -> Self {
        Self::with(inner, Calls::Commits, deliveries)
    }

    /// Delivers the first appends as given.
    #[must_use]
    pub fn for_appends(inner: Q, deliveries: &[Delivery]) -> Self {
        Self::with(inner, Calls::Appends, deliveries)
    }

    fn with(inner: Q, faulty: Calls, deliveries: &[Delivery]) -> Self {
        let plan = Arc::new(Plan {
            deliveries: Mutex::new(deliveries.iter().rev().copied().collect()),
            calls: AtomicUsize::new(0),
            arrived: Semaphore::new(0),
            released: Semaphore::new(0),
        });
        Self {
            inner,
            faulty,
            plan,
        }
    }

    /// The number of commits or appends so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.plan.calls.load(Ordering::SeqCst)
    }

    /// Waits for a call that is [`Delivery::Held`].
    pub async fn held_call(&self) {
        let arrived = tokio::time::timeout(super::WAIT_LIMIT, self.plan.arrived.acquire()).await;
        arrived.expect("no call arrived").unwrap().forget();
    }

    /// Releases a held call.
    pub fn release_call(&self) {
        self.plan.released.add_permits(1);
    }
}

impl Plan {
    async fn deliver<T, F>(&self, call: impl Fn() -> F + Send) -> Result<T, QueueError>
    where
        F: Future<Output = Result<T, QueueError>> + Send + 'static,
        T: Send,
    {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let delivery = self.deliveries.lock().unwrap().pop();
        match delivery.unwrap_or(Delivery::Answered) {
            Delivery::Answered => return call().await,
            Delivery::Held => {
                self.arrived.add_permits(1);
                self.released.acquire().await.unwrap().forget();
                return call().await;
            }
            Delivery::Applied => drop(call().await?),
            Delivery::Dropped => {}
            Delivery::Delayed => {
                self.deliveries.lock().unwrap().push(Delivery::Applied);
                let call = call();
                tokio::spawn(async move {
                    // After the caller has read the number. The later one of both calls is refused.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    drop(call.await);
                });
            }
        }
        Err(QueueError::Unknown("the reply was lost".into()))
    }
}

impl<Q: Queue> Queue for FaultyQueue<Q> {
    async fn append(&self, append: &Append) -> Result<Appended, QueueError> {
        if self.faulty != Calls::Appends {
            return self.inner.append(append).await;
        }
        let call = || {
            let (queue, append) = (self.inner.clone(), append.clone());
            async move { queue.append(&append).await }
        };
        self.plan.deliver(call).await
    }

    async fn commit(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        if self.faulty != Calls::Commits {
            return self.inner.commit(lease, commit).await;
        }
        let call = || {
            let (queue, lease, commit) = (self.inner.clone(), lease.clone(), commit.clone());
            async move { queue.commit(&lease, &commit).await }
        };
        self.plan.deliver(call).await
    }

    async fn positions(&self) -> Result<Positions, QueueError> {
        self.inner.positions().await
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
    async fn peek(&self, lease: &Lease, skip: usize, max: usize) -> Result<Peek, QueueError> {
        self.inner.peek(lease, skip, max).await
    }
    async fn progress(&self, consumer: Stage) -> Result<Progress, QueueError> {
        self.inner.progress(consumer).await
    }
    async fn snapshot(&self) -> Result<Snapshot, QueueError> {
        self.inner.snapshot().await
    }
}
