//! The items of a stream as messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::backoff::Backoff;
use common::health::Dependency;
use model::position::{PositionStep, Positions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::HttpStreamSettings;
use super::client::{Body, StreamError};
use super::line::{Lines, Message};
use crate::source::{Delivery, SessionEnded, Source};

/// Pieces of the stream that wait for the caller.
const CAPACITY: usize = 2;
const MIN_WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The place behind an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpStreamTicket(Arc<str>);

/// A reader of a stream.
///
/// The queue keeps the position, which is the cursor of the last line: each append sets it, so an item enters once.
#[derive(Debug)]
pub struct HttpStreamSource {
    topic: String,
    /// The address, by which the queue calls the position.
    partition: String,
    deliveries: mpsc::Receiver<Vec<Message>>,
    /// Messages that were received and are not handed out yet.
    rest: std::vec::IntoIter<Message>,
    /// The position of the queue; empty if there is none yet.
    acked: Mutex<Arc<str>>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl HttpStreamSource {
    /// Connects in the background, and retries without end; `dependency` is up while items can arrive. `positions` are
    /// those of the queue. Needs a tokio runtime.
    #[must_use]
    pub fn start(
        settings: &HttpStreamSettings,
        dependency: Dependency,
        positions: &Positions,
    ) -> Self {
        let partition = settings.url.to_string();
        let position: Arc<str> = positions.get(&partition).map_or("", String::as_str).into();
        let stop = CancellationToken::new();
        let (outgoing, deliveries) = mpsc::channel(CAPACITY);
        let task = ReaderTask {
            settings: settings.clone(),
            position: position.clone(),
            outgoing,
            dependency,
        };
        let stopped = stop.clone();
        Self {
            topic: settings.topic(),
            partition,
            deliveries,
            rest: Vec::new().into_iter(),
            acked: Mutex::new(position),
            task: tokio::spawn(async move {
                stopped.run_until_cancelled(task.run()).await;
            }),
            stop: stop.drop_guard(),
        }
    }

    fn acked(&self) -> MutexGuard<'_, Arc<str>> {
        self.acked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for HttpStreamSource {
    const NAME: &'static str = "http-stream";
    const HAS_POSITIONS: bool = true;
    type Ticket = HttpStreamTicket;

    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery<HttpStreamTicket>>,
    ) -> Result<usize, SessionEnded> {
        let before = batch.len();
        loop {
            let messages = self.rest.by_ref().take(max.max(1));
            batch.extend(messages.map(|Message { cursor, payload }| {
                Delivery::new(self.topic.clone(), payload, HttpStreamTicket(cursor))
            }));
            if batch.len() > before {
                return Ok(batch.len() - before);
            }
            let messages = self.deliveries.recv().await.ok_or(SessionEnded)?;
            self.rest = messages.into_iter();
        }
    }

    fn steps<'a>(&self, tickets: impl Iterator<Item = &'a HttpStreamTicket>) -> Vec<PositionStep> {
        let last = tickets.last().map(|HttpStreamTicket(cursor)| PositionStep {
            partition: self.partition.clone(),
            from: self.acked().to_string(),
            to: cursor.to_string(),
        });
        last.into_iter().collect()
    }

    fn ack(&self, tickets: impl IntoIterator<Item = HttpStreamTicket>) {
        if let Some(HttpStreamTicket(cursor)) = tickets.into_iter().last() {
            *self.acked() = cursor;
        }
    }

    async fn close(self) {
        let Self { task, stop, .. } = self;
        stop.disarm().cancel();
        drop(self.deliveries);
        if let Err(error) = task.await {
            tracing::error!(%error, "the task of a reader of an HTTP stream panicked");
        }
    }
}

/// Why a response was read to its end.
enum Ended {
    /// The server has ended it.
    Whole,
    /// The caller takes no more.
    Unwanted,
}

struct ReaderTask {
    settings: HttpStreamSettings,
    /// The cursor of the last line that was handed over; empty before the first.
    position: Arc<str>,
    outgoing: mpsc::Sender<Vec<Message>>,
    dependency: Dependency,
}

impl ReaderTask {
    async fn run(mut self) {
        let mut backoff = Backoff::new(MIN_WAIT, MAX_WAIT);
        loop {
            match self.read(&mut backoff).await {
                // Until there is another file, a server that can't follow ends each response at once.
                Ok(Ended::Whole) => self.dependency.up(),
                Ok(Ended::Unwanted) => return,
                Err(StreamError::Replaced) => {
                    tracing::warn!(
                        "the file behind {} has been replaced, it is read from its start",
                        self.settings.url
                    );
                    self.position = "".into();
                }
                Err(error) => {
                    let url = &self.settings.url;
                    let error = format_args!("the stream {url} can't be read: {error}");
                    self.dependency.down(&error);
                }
            }
            sleep(backoff.next_wait()).await;
        }
    }

    /// Reads a response to its end. Lines that can be used show that the server works, so they reset the backoff.
    async fn read(&mut self, backoff: &mut Backoff) -> Result<Ended, StreamError> {
        let settings = self.settings.clone();
        let mut body = Body::open(&settings, &self.position).await?;
        let mut lines = Lines::new(settings.max_payload);
        while let Some(piece) = body.next().await? {
            let (mut messages, mut rest) = (Vec::new(), piece.as_ref());
            let mut read = Ok(());
            while read.is_ok()
                && let Some(line) = lines.next(&mut rest)
            {
                read = line.message().map(|message| {
                    self.dependency.up();
                    backoff.reset();
                    messages.extend(message);
                });
            }
            if !self.hand_over(messages).await {
                return Ok(Ended::Unwanted);
            }
            read?;
        }
        // The last line may lack its end. If the connection broke within it, it isn't an object.
        let last = lines.rest().message()?;
        if self.hand_over(last.into_iter().collect()).await {
            Ok(Ended::Whole)
        } else {
            Ok(Ended::Unwanted)
        }
    }

    /// Returns whether the caller takes more.
    async fn hand_over(&mut self, messages: Vec<Message>) -> bool {
        let Some(last) = messages.last() else {
            return true;
        };
        self.position = last.cursor.clone();
        self.outgoing.send(messages).await.is_ok()
    }
}
