//! The sink's waits, on a queue in memory whose time is paused: it advances only while every task
//! waits, so that each wait is checked exactly and takes no time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::clock::Clock;
use common::health::Status;
use model::{Row, Stage};
use queue::list::List;
use queue::testing::{MemoryQueue, Running, limited};
use queue::{Commit, Queue};
use store::{Store, WriteError};
use tokio::time::{Instant, sleep, timeout};

use crate::fixture::{rows, start_with};

/// The polls that may pass between a wait and the next request.
const TOLERANCE: Duration = Duration::from_millis(50);

/// A store that answers every request with the same error, or accepts it.
#[derive(Clone, Default)]
struct Scripted {
    error: Arc<Mutex<Option<WriteError>>>,
    /// The times of all requests.
    requests: Arc<Mutex<Vec<Instant>>>,
    /// The number of rows that were accepted.
    stored: Arc<Mutex<usize>>,
}

impl Scripted {
    fn failing(error: WriteError) -> Self {
        let store = Self::default();
        store.set(Some(error));
        store
    }

    fn set(&self, error: Option<WriteError>) {
        *self.error.lock().unwrap() = error;
    }

    fn request(&self) -> Result<(), WriteError> {
        self.requests.lock().unwrap().push(Instant::now());
        self.error.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn stored(&self) -> usize {
        *self.stored.lock().unwrap()
    }

    /// The waits between the requests so far, which are then forgotten.
    fn waits(&self) -> Vec<Duration> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        let pairs = requests.windows(2);
        pairs.map(|pair| pair[1].duration_since(pair[0])).collect()
    }
}

impl Store for Scripted {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        self.request()?;
        *self.stored.lock().unwrap() += rows.len();
        Ok(())
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        self.request()
    }
}

async fn queue_with(outputs: Vec<Vec<u8>>) -> MemoryQueue {
    let queue = MemoryQueue::new(&limited(|_| {}), Clock::system().now());
    let limit = Duration::from_secs(3);
    let lease = queue.lease(Stage::Transformer, "test", limit).await;
    let commit = Commit {
        outputs,
        ..Commit::default()
    };
    queue
        .commit(&lease.unwrap().unwrap(), &commit)
        .await
        .unwrap();
    queue
}

fn start(queue: &MemoryQueue, store: &Scripted) -> Running {
    start_with(queue.clone(), &limited(|_| {}), store.clone())
}

fn unavailable(after: Option<Duration>) -> WriteError {
    WriteError::Retry {
        detail: "unavailable".into(),
        after,
    }
}

/// Asserts that the waits grow from `shortest` to `longest`.
fn assert_backoff(waits: &[Duration], shortest: Duration, longest: Duration) {
    let bounds = shortest..=longest + TOLERANCE;
    assert!(waits.iter().all(|wait| bounds.contains(wait)), "{waits:?}");
    assert!(waits[0] < longest / 2, "{waits:?}");
    let last = waits.last().unwrap();
    assert!(*last >= longest / 2, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn unavailable_store_is_retried_at_growing_waits_up_to_ten_seconds() {
    let queue = queue_with(rows("R", 0..20)).await;
    let store = Scripted::failing(unavailable(None));
    let stage = start(&queue, &store);
    sleep(Duration::from_mins(10)).await;
    let waits = store.waits();
    assert!((60..140).contains(&waits.len()), "{} tries", waits.len());
    assert_backoff(&waits, Duration::from_millis(250), Duration::from_secs(10));
    store.set(None);
    sleep(Duration::from_secs(10) + TOLERANCE).await;
    assert_eq!((store.stored(), queue.length(List::Normalized)), (20, 0));
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn denied_write_is_retried_at_growing_waits_up_to_a_minute() {
    let queue = queue_with(rows("R", 0..20)).await;
    let detail = "check INFLUX_TOKEN".into();
    let store = Scripted::failing(WriteError::Denied { detail });
    let stage = start(&queue, &store);
    sleep(Duration::from_hours(1)).await;
    let waits = store.waits();
    assert_backoff(&waits, Duration::from_secs(2), Duration::from_mins(1));
    assert_eq!(queue.length(List::Normalized), 20);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn wait_that_the_store_asks_for_is_kept_but_ends_at_a_stop() {
    let queue = queue_with(rows("R", 0..20)).await;
    let wait = Duration::from_hours(1);
    let store = Scripted::failing(unavailable(Some(wait)));
    let stage = start(&queue, &store);
    stage.until("store", Status::Down).await;
    sleep(wait * 2 + TOLERANCE).await;
    let waits = store.waits();
    assert_eq!(waits.len(), 2, "{waits:?}");
    assert_constant(&waits, wait);
    timeout(Duration::from_secs(1), stage.stop()).await.unwrap();
}

/// Asserts that every wait is `wait`.
fn assert_constant(waits: &[Duration], wait: Duration) {
    let expected = wait..wait + TOLERANCE;
    assert!(
        waits.iter().all(|wait| expected.contains(wait)),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn idle_sink_sends_a_preflight_every_ten_seconds() {
    let queue = queue_with(Vec::new()).await;
    let store = Scripted::default();
    let stage = start(&queue, &store);
    sleep(Duration::from_mins(10)).await;
    let waits = store.waits();
    assert!((58..=60).contains(&waits.len()), "{} tries", waits.len());
    assert_constant(&waits, Duration::from_secs(10));
    assert!(stage.is_ready());
    stage.stop().await;
}
