//! Hands the messages of one source to several pipelines.
//!
//! A message goes to each pipeline that wants its topic, or to the first if none does, and is acknowledged
//! once all of them have acknowledged it. Acknowledgements keep the order of arrival within a connection.
//! While a pipeline is behind, only the connections that publish to it are paused.

mod pending;
mod router;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::pending::Share;
use self::router::Router;
use crate::source::{Delivery, PausableSource, SessionEnded, Source};

/// Whether a pipeline wants the messages of a topic.
pub type Wants = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A source that several pipelines receive from; clones share it.
pub struct Fanout<S: PausableSource> {
    shared: Arc<Shared<S>>,
}

struct Shared<S: PausableSource> {
    start: Box<dyn Fn() -> S + Send + Sync>,
    routes: Arc<[Wants]>,
    current: Mutex<Option<Generation<S>>>,
}

/// A session of the source, and what its pipelines receive from it.
struct Generation<S: PausableSource> {
    /// The end of each pipeline, until it is taken.
    ends: Vec<Option<End<S>>>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// What a pipeline receives, and how it acknowledges it.
struct End<S: PausableSource> {
    deliveries: mpsc::UnboundedReceiver<Delivery<Share<S::Ticket>>>,
    done: mpsc::UnboundedSender<Vec<Share<S::Ticket>>>,
}

impl<S: PausableSource> Fanout<S> {
    /// A source that `start` starts, which is called again after each end of a session. There has to be at
    /// least one pipeline.
    #[must_use]
    pub fn new(start: impl Fn() -> S + Send + Sync + 'static, routes: Vec<Wants>) -> Self {
        Self {
            shared: Arc::new(Shared {
                start: Box::new(start),
                routes: routes.into(),
                current: Mutex::default(),
            }),
        }
    }

    /// A session of a pipeline, by its place. If the pipeline had one already, the source's session ends,
    /// and with it those of the other pipelines: what they haven't acknowledged has to be delivered again.
    #[must_use]
    pub fn session(&self, place: usize) -> FanoutSession<S> {
        let mut current = self.shared.lock();
        let is_over = |generation: &Generation<S>| {
            generation.stop.is_cancelled()
                || generation.task.is_finished()
                || generation.ends.get(place).is_none_or(Option::is_none)
        };
        if current.as_ref().is_none_or(is_over) {
            let earlier = current.take().map(|generation| {
                generation.stop.cancel();
                generation.task
            });
            *current = Some(self.begin(earlier));
        }
        let generation = current.as_mut();
        let end = generation.and_then(|generation| {
            let end = generation.ends.get_mut(place).and_then(Option::take)?;
            Some((end, generation.stop.clone()))
        });
        FanoutSession {
            end: end.map(|(end, stop)| (end, stop.drop_guard())),
        }
    }

    fn begin(&self, earlier: Option<JoinHandle<()>>) -> Generation<S> {
        let stop = CancellationToken::new();
        let (done, finished) = mpsc::unbounded_channel();
        let (mut outgoing, mut ends) = (Vec::new(), Vec::new());
        for _ in self.shared.routes.iter() {
            let (sender, deliveries) = mpsc::unbounded_channel();
            outgoing.push(sender);
            let done = done.clone();
            ends.push(Some(End { deliveries, done }));
        }
        let (shared, stopped) = (Arc::clone(&self.shared), stop.clone());
        let task = tokio::spawn(async move {
            // The earlier session of the source ends before the next one starts.
            if let Some(Err(error)) = match earlier {
                Some(earlier) => Some(earlier.await),
                None => None,
            } {
                tracing::error!(%error, "the task of a source's session panicked");
            }
            if stopped.is_cancelled() {
                return;
            }
            let source = (shared.start)();
            let router = Router::new(source, Arc::clone(&shared.routes), outgoing, finished);
            router.run(stopped).await;
        });
        Generation { ends, task, stop }
    }
}

impl<S: PausableSource> Clone for Fanout<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: PausableSource> fmt::Debug for Fanout<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.shared.routes.len();
        f.debug_struct("Fanout")
            .field("routes", &routes)
            .finish_non_exhaustive()
    }
}

impl<S: PausableSource> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, Option<Generation<S>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pipeline's part of a [`Fanout`]. The source's session ends with the first of them.
pub struct FanoutSession<S: PausableSource> {
    /// `None` if there is no pipeline at this place.
    end: Option<(End<S>, DropGuard)>,
}

impl<S: PausableSource> fmt::Debug for FanoutSession<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanoutSession").finish_non_exhaustive()
    }
}

impl<S: PausableSource> Source for FanoutSession<S> {
    const NAME: &'static str = S::NAME;
    type Ticket = Share<S::Ticket>;

    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery<Self::Ticket>>,
    ) -> Result<usize, SessionEnded> {
        let Some((end, _)) = &mut self.end else {
            return Err(SessionEnded);
        };
        match end.deliveries.recv_many(batch, max.max(1)).await {
            0 => Err(SessionEnded),
            taken => Ok(taken),
        }
    }

    fn ack(&self, tickets: impl IntoIterator<Item = Self::Ticket>) {
        if let Some((end, _)) = &self.end {
            // Fails only when the session has ended.
            let _ = end.done.send(tickets.into_iter().collect());
        }
    }

    /// Ends the session of the source. Acknowledgements that were passed to it before are sent.
    async fn close(self) {
        drop(self.end);
    }
}
