//! Messages of programs in this process and of HTTP, beside those of another source or alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::health::Dependency;
use model::position::PositionStep;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::source::{Delivery, SessionEnded, Source};
use crate::watch::{MessageWatch, Watched};

/// Posts that wait for the ingester. More of them wait in their callers.
const WAITING: usize = 1_000;

/// Takes messages for an ingester. Clones share them.
#[derive(Debug, Clone)]
pub struct Inbox {
    sender: mpsc::Sender<Post>,
    receiver: Arc<Mutex<mpsc::Receiver<Post>>>,
    sessions: Arc<AtomicUsize>,
    watched: Watched,
}

/// A message that the ingester will receive.
#[derive(Debug)]
pub struct Pending {
    stored: oneshot::Receiver<()>,
    deadline: Instant,
}

#[derive(Debug)]
struct Post {
    topic: String,
    payload: Bytes,
    stored: oneshot::Sender<()>,
}

/// A message wasn't stored in time. It may be stored later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message wasn't stored in time; it may be stored later")]
pub struct NotStored;

impl Default for Inbox {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            receiver: Arc::new(Mutex::new(receiver)),
            sessions: Arc::default(),
            watched: Watched::default(),
        }
    }
}

impl Inbox {
    /// Hands a message to the ingester, and waits until it has appended it or made a dead letter of it. Both are
    /// durable then.
    pub async fn post(
        &self,
        topic: String,
        payload: Bytes,
        limit: Duration,
    ) -> Result<(), NotStored> {
        let pending = self.offer(topic, payload, Instant::now() + limit).await?;
        pending.stored().await
    }

    /// Hands a message to the ingester. Those of one caller are received in the order of its calls.
    pub async fn offer(
        &self,
        topic: String,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Pending, NotStored> {
        let (stored, is_stored) = oneshot::channel();
        let post = Post {
            topic,
            payload,
            stored,
        };
        let sent = timeout_at(deadline, self.sender.send(post)).await;
        sent.is_ok_and(|sent| sent.is_ok())
            .then_some(Pending {
                stored: is_stored,
                deadline,
            })
            .ok_or(NotStored)
    }

    /// Whether an ingester receives. A standby doesn't.
    #[must_use]
    pub fn is_received(&self) -> bool {
        self.sessions.load(Ordering::Relaxed) > 0
    }

    /// A source of these messages alone.
    #[must_use]
    pub fn alone(&self, up: &Dependency) -> WithPosts<NoOther> {
        up.up();
        self.beside(NoOther)
    }

    /// A source of these messages and of another one's. One session at a time receives them.
    #[must_use]
    pub fn beside<S: Source>(&self, source: S) -> WithPosts<S> {
        WithPosts {
            source,
            received: Vec::new(),
            taken: Vec::new(),
            posts: Arc::clone(&self.receiver),
            _session: Session::start(&self.sessions),
            watched: self.watched.clone(),
        }
    }

    /// Copies of the messages that the ingester receives from now on: posts and those of the source.
    #[must_use]
    pub fn watch(&self) -> MessageWatch {
        self.watched.watch()
    }
}

impl Pending {
    /// Waits until the message is appended or a dead letter, and durable.
    pub async fn stored(self) -> Result<(), NotStored> {
        let stored = timeout_at(self.deadline, self.stored).await;
        stored.ok().and_then(Result::ok).ok_or(NotStored)
    }
}

/// A source with the messages of an [`Inbox`].
#[derive(Debug)]
pub struct WithPosts<S: Source> {
    source: S,
    /// Messages of the source that weren't handed over.
    received: Vec<Delivery<S::Ticket>>,
    /// Posts that weren't handed over.
    taken: Vec<Post>,
    posts: Arc<Mutex<mpsc::Receiver<Post>>>,
    watched: Watched,
    _session: Session,
}

/// Counts as a session until it is dropped.
#[derive(Debug)]
struct Session(Arc<AtomicUsize>);

impl Session {
    fn start(sessions: &Arc<AtomicUsize>) -> Self {
        sessions.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(sessions))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A source that has no messages, for an [`Inbox`] that is the only one.
#[derive(Debug)]
pub struct NoOther;

impl Source for NoOther {
    const NAME: &'static str = "http";
    type Ticket = ();

    async fn recv_batch(
        &mut self,
        _: usize,
        _: &mut Vec<Delivery<()>>,
    ) -> Result<usize, SessionEnded> {
        std::future::pending().await
    }

    fn ack(&self, tickets: impl IntoIterator<Item = ()>) {
        // The iterator acknowledges the posts on its way.
        tickets.into_iter().for_each(drop);
    }

    async fn close(self) {}
}

/// The right to acknowledge a message of a source, or one that was posted.
#[derive(Debug)]
pub enum PostedTicket<T> {
    /// Of the source.
    Source(T),
    /// Of a post, which waits for it.
    Post(oneshot::Sender<()>),
}

impl<S: Source> WithPosts<S> {
    fn hand_over(&mut self, batch: &mut Vec<Delivery<PostedTicket<S::Ticket>>>) -> usize {
        let count = self.received.len() + self.taken.len();
        let posts = batch.len();
        batch.extend(
            self.taken.drain(..).map(|post| {
                Delivery::new(post.topic, post.payload, PostedTicket::Post(post.stored))
            }),
        );
        self.watched.show(&batch[posts..]);
        batch.extend(self.received.drain(..).map(|delivery| {
            let (ticket, message) = delivery.replace_ticket(());
            message.replace_ticket(PostedTicket::Source(ticket)).1
        }));
        count
    }
}

impl<S: Source> Source for WithPosts<S> {
    const NAME: &'static str = S::NAME;
    const HAS_POSITIONS: bool = S::HAS_POSITIONS;
    type Ticket = PostedTicket<S::Ticket>;

    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery<Self::Ticket>>,
    ) -> Result<usize, SessionEnded> {
        if self.received.is_empty() && self.taken.is_empty() {
            let (posts, taken) = (&self.posts, &mut self.taken);
            // Cancel-safe, too: what it receives is in the field.
            let post = async { posts.lock().await.recv_many(taken, max).await };
            tokio::select! {
                received = self.source.recv_batch(max, &mut self.received) => {
                    received?;
                    self.watched.show(&self.received);
                }
                // Their sender is in the inbox, which the ingester's session outlives only at the end.
                1.. = post => {}
            }
        }
        Ok(self.hand_over(batch))
    }

    fn steps<'a>(&self, tickets: impl Iterator<Item = &'a Self::Ticket>) -> Vec<PositionStep> {
        self.source.steps(tickets.filter_map(|ticket| match ticket {
            PostedTicket::Source(ticket) => Some(ticket),
            PostedTicket::Post(_) => None,
        }))
    }

    fn ack(&self, tickets: impl IntoIterator<Item = Self::Ticket>) {
        self.source.ack(tickets.into_iter().filter_map(|ticket| {
            match ticket {
                PostedTicket::Source(ticket) => Some(ticket),
                PostedTicket::Post(stored) => {
                    // The caller may have given up.
                    let _ = stored.send(());
                    None
                }
            }
        }));
    }

    async fn close(self) {
        self.source.close().await;
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::{Inbox, NotStored};
    use crate::capture::Captured;
    use crate::memory::MemoryBroker;
    use crate::source::Source;
    use crate::watch::Seen;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn posts_and_messages_are_received_and_acknowledged() {
        let (broker, inbox) = (MemoryBroker::default(), Inbox::default());
        let mut session = inbox.beside(broker.session());
        let number = broker.publish("a", "1");
        let post = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.post("b".to_owned(), Bytes::from("2"), LIMIT).await }
        });
        let mut batch = Vec::new();
        while batch.len() < 2 {
            session.recv_batch(10, &mut batch).await.unwrap();
        }
        let mut seen: Vec<_> = batch
            .iter()
            .map(|it| (it.topic.clone(), it.payload.clone()))
            .collect();
        seen.sort();
        let expected = [("a", "1"), ("b", "2")];
        assert_eq!(
            seen,
            expected.map(|(topic, payload)| (topic.to_owned(), Bytes::from(payload)))
        );
        assert!(!post.is_finished(), "nothing is acknowledged yet");
        session.ack(batch.into_iter().map(|delivery| delivery.ticket));
        assert_eq!(post.await.unwrap(), Ok(()));
        assert_eq!(broker.acknowledged(), [number]);
        session.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn watchers_get_copies_and_hold_up_nothing() {
        let (broker, inbox) = (MemoryBroker::default(), Inbox::default());
        let mut session = inbox.beside(broker.session());
        let mut batch = Vec::new();
        let mut watch = inbox.watch();
        let long = "x".repeat(100_000);
        for payload in ["first".to_owned(), long] {
            broker.publish("a", payload);
        }
        while batch.len() < 2 {
            session.recv_batch(10, &mut batch).await.unwrap();
        }
        assert_eq!(watch.next().await, Some(message("first")));
        assert_eq!(watch.next().await, Some(message(&"x".repeat(64 << 10))));
        // One that doesn't read misses what is too much.
        for number in 0..300 {
            broker.publish("a", number.to_string());
        }
        while batch.len() < 302 {
            session.recv_batch(10, &mut batch).await.unwrap();
        }
        assert_eq!(watch.next().await, Some(Seen::Missed(44)));
        assert_eq!(watch.next().await, Some(message("44")));
    }

    fn message(payload: &str) -> Seen {
        Seen::Message(Captured {
            topic: "a".to_owned(),
            payload: Bytes::from(payload.to_owned()),
            is_retained: false,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn post_that_is_not_acknowledged_in_time_is_an_error_and_another_session_gets_later_ones()
    {
        let (broker, inbox) = (MemoryBroker::default(), Inbox::default());
        let post = async |topic: &str| inbox.post(topic.to_owned(), Bytes::new(), LIMIT).await;
        assert_eq!(post("nobody receives").await, Err(NotStored));
        let mut session = inbox.beside(broker.session());
        let mut batch = Vec::new();
        session.recv_batch(1, &mut batch).await.unwrap();
        session.ack(batch.drain(..).map(|delivery| delivery.ticket));
        // A session that ends without an acknowledgement.
        let (ended, ()) = tokio::join!(post("first"), async {
            session.recv_batch(1, &mut batch).await.unwrap();
            batch.clear();
            session.close().await;
        });
        assert_eq!(ended, Err(NotStored));
        let mut session = inbox.beside(broker.session());
        let (stored, ()) = tokio::join!(post("second"), async {
            session.recv_batch(1, &mut batch).await.unwrap();
            session.ack(batch.drain(..).map(|delivery| delivery.ticket));
        });
        assert_eq!(stored, Ok(()));
    }
}
