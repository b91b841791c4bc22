//! The live stream: the newest state of a pipeline, read once for all its readers.
//!
//! A reader that is slow misses states in between, and then gets the newest one: nothing grows.

mod event;
mod figures;
mod poll;
mod rows;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
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
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let detail = format!("there are {MAX_STREAMS} streams already: close some of them");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
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
