//! The live stream: the newest state of a pipeline, read once for all its readers.
//!
//! A reader that is slow misses states in between, and then gets the newest one: nothing grows.

mod event;
mod figures;
mod poll;
mod rows;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderName, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::event::{Events, LiveProblem, Recovered};
pub(crate) use self::figures::Figures;
pub(crate) use self::poll::State;
pub(crate) use self::rows::LiveRows;
use crate::parts::{Api, ServedPipeline};
use crate::problem::Problem;

/// Most streams of all pipelines together.
const MAX_STREAMS: usize = 500;

/// The newest state; `None` until it is read for the first time.
pub(crate) type Seen = Option<Arc<State>>;

/// The streams of all pipelines.
#[derive(Debug)]
pub(crate) struct Live {
    /// The newest state of each pipeline that has readers, by name.
    channels: Mutex<HashMap<String, watch::Sender<Seen>>>,
    free: Arc<Semaphore>,
    stop: CancellationToken,
}

/// What a stream reads from.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The newest state.
    pub(crate) newest: watch::Receiver<Seen>,
    /// Cancelled when the process stops.
    pub(crate) stop: CancellationToken,
    /// One of the streams that there may be.
    _permit: OwnedSemaphorePermit,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            channels: Mutex::default(),
            free: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop: CancellationToken::new(),
        }
    }

    /// Ends all streams.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Subscribes to a pipeline's states. The first reader starts the task that reads them.
    pub(crate) fn subscribe(
        &self,
        api: &Api,
        part: &ServedPipeline,
    ) -> Result<Subscription, Problem> {
        let permit = self.permit()?;
        let name = part.pipeline.name();
        let mut channels = self.channels();
        let newest = if let Some(sender) = channels.get(name) {
            sender.subscribe()
        } else {
            let (sender, newest) = watch::channel(None);
            channels.insert(name.to_owned(), sender.clone());
            tokio::spawn(poll::run(api.clone(), part.clone(), sender));
            newest
        };
        drop(channels);
        Ok(Subscription {
            newest,
            stop: self.stop.clone(),
            _permit: permit,
        })
    }

    /// The right to one of the streams that there may be.
    pub(crate) fn permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let detail = format!("there are {MAX_STREAMS} streams already: close some of them");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }

    /// Cancelled when the process stops.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Forgets a pipeline's states if nobody reads them. Under the lock, so that no reader comes in between.
    fn forget_if_unread(&self, name: &str, sender: &watch::Sender<Seen>) -> bool {
        let mut channels = self.channels();
        let is_unread = sender.receiver_count() == 0;
        if is_unread {
            channels.remove(name);
        }
        is_unread
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Seen>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Headers of a response without end: neither a cache nor a proxy in between may hold back what it brings.
pub(crate) const UNBUFFERED: [(HeaderName, &str); 2] = [
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

/// Does `work`, which sends to a client, until it ends, the client has gone, or the process stops.
pub(crate) async fn while_read<T>(
    stop: &CancellationToken,
    client: &mpsc::Sender<T>,
    work: impl Future<Output = ()>,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = client.closed() => {}
        () = work => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use common::clock::Clock;
    use common::health::Health;
    use common::pipelines::Pipeline;
    use model::dead_letter::{DeadLetter, Rejection};
    use model::{Layout, Timestamp};
    use queue::testing::TempQueue;
    use queue::{DeadLetterEntry, Lists, Replay};
    use store::{SqliteSettings, SqliteStore};
    use tokio::time::{sleep, timeout};

    use crate::alerts::AlertBoard;
    use crate::parts::{Api, PipelineHistory, ServedPipeline, StageChecks};

    #[derive(Debug)]
    struct Never;

    impl StageChecks for Never {
        fn validate(
            &self,
            _: DeadLetterEntry,
            _: &DeadLetter,
            _: Timestamp,
        ) -> Result<Replay, String> {
            Err("never".to_owned())
        }

        fn check(&self, _: &str, _: &[u8], _: Timestamp) -> Option<Rejection> {
            None
        }
    }

    #[tokio::test]
    async fn nothing_is_read_without_readers() {
        let dir = tempfile::tempdir().unwrap();
        let kept = SqliteSettings {
            retention: Duration::ZERO,
        };
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path, &kept, Layout::Rigs, Clock::system()).unwrap();
        let queue = TempQueue::new(queue::testing::settings());
        let part = ServedPipeline {
            pipeline: Pipeline::Rigs(None),
            lists: Lists::Sqlite(queue.open()),
            history: PipelineHistory::Sqlite(store.history()),
            latest: None,
            stages: Arc::new(Never),
            alerts: AlertBoard::default(),
            inbox: None,
        };
        let api = Api::new(vec![part], Health::for_stage("up"), Clock::system());
        let part = &api.pipelines()[0];
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let mut first = api.live().subscribe(&api, part).unwrap();
            let mut second = api.live().subscribe(&api, part).unwrap();
            assert_eq!(api.live().channels().len(), 1, "one task for both");
            first.newest.changed().await.unwrap();
            second.newest.changed().await.unwrap();
            let number = first.newest.borrow().as_ref().unwrap().number;
            numbers.push(number);
            drop(first);
            second.newest.changed().await.unwrap();
            drop(second);
            let stopped = async {
                while !api.live().channels().is_empty() {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(Duration::from_secs(30), stopped).await.unwrap();
        }
        // The second reader found none that went on.
        assert_eq!(numbers, [1, 1]);
    }
}
