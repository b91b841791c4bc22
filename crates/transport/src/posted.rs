//! Messages of programs in this process, beside those of a source.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::position::PositionStep;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use crate::source::{Delivery, SessionEnded, Source};
use crate::watch::{MessageWatch, Watched};

/// Posts that wait for the ingester. More of them wait in their callers.
const WAITING: usize = 1_000;

/// Takes messages for an ingester. Clones share them.
#[derive(Debug, Clone)]
pub struct Inbox {
    sender: mpsc::Sender<Post>,
    receiver: Arc<Mutex<mpsc::Receiver<Post>>>,
    watched: Watched,
}

#[derive(Debug)]
struct Post {
    topic: String,
    payload: Bytes,
    stored: oneshot::Sender<()>,
}

/// A message wasn't stored in time. It may be stored later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message wasn't stored within {0:?}; it may be stored later")]
pub struct NotStored(pub Duration);

impl Default for Inbox {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            receiver: Arc::new(Mutex::new(receiver)),
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
        let (stored, is_stored) = oneshot::channel();
        let post = Post {
            topic,
            payload,
            stored,
        };
        let both = async {
            self.sender.send(post).await.ok()?;
            is_stored.await.ok()
        };
        let done = timeout(limit, both).await.ok().flatten();
        done.ok_or(NotStored(limit))
    }

    /// A source of these messages and of another one's. One session at a time receives them.
    #[must_use]
    pub fn beside<S: Source>(&self, source: S) -> WithPosts<S> {
        WithPosts {
            source,
            received: Vec::new(),
            posts: Arc::clone(&self.receiver),
            watched: self.watched.clone(),
        }
    }

    /// Copies of the messages that the ingester receives from now on: posts and those of the source.
    #[must_use]
    pub fn watch(&self) -> MessageWatch {
        self.watched.watch()
    }
}

/// A source with the messages of an [`Inbox`].
#[derive(Debug)]
pub struct WithPosts<S: Source> {
    source: S,
    /// Messages of the source that weren't handed over.
    received: Vec<Delivery<S::Ticket>>,
    posts: Arc<Mutex<mpsc::Receiver<Post>>>,
    watched: Watched,
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
        let count = self.received.len();
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
        if self.received.is_empty() {
            let post = async { self.posts.lock().await.recv().await };
            tokio::select! {
                received = self.source.recv_batch(max, &mut self.received) => {
                    received?;
                    self.watched.show(&self.received);
                }
                // Its sender is in the inbox, which the ingester's session outlives only at the end.
                Some(post) = post => {
                    let ticket = PostedTicket::Post(post.stored);
                    let delivery = Delivery::new(post.topic, post.payload, ticket);
                    self.watched.show(std::slice::from_ref(&delivery));
                    batch.push(delivery);
                    return Ok(1);
                }
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
        assert_eq!(post("nobody receives").await, Err(NotStored(LIMIT)));
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
        assert_eq!(ended, Err(NotStored(LIMIT)));
        let mut session = inbox.beside(broker.session());
        let (stored, ()) = tokio::join!(post("second"), async {
            session.recv_batch(1, &mut batch).await.unwrap();
            session.ack(batch.drain(..).map(|delivery| delivery.ticket));
        });
        assert_eq!(stored, Ok(()));
    }
}
