//! A session that sends, and keeps what it sends until the broker has acknowledged it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::health::Dependency;
use rumqttc::Packet;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::{Connection, Fault, MAX_PACKET, options};
use crate::link::Link;
use crate::settings::MqttSettings;
use crate::window::{Message, Window};

/// Messages that wait for an acknowledgement at the same time.
const IN_FLIGHT: u16 = 1_000;
/// Messages that wait to be sent; with those in flight this is all that is kept in memory.
const WAITING: usize = 19_000;
/// Room in a packet for everything but topic and payload.
const OVERHEAD: usize = 16;

/// Why a message can't be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A topic that is empty, too long, or holds `+`, `#` or NUL. A broker would end the connection
    /// at each try.
    #[error("not a topic that can be published to: {0:?}")]
    Topic(String),
    /// Larger than an MQTT packet can be.
    #[error("a payload of {0} bytes is larger than an MQTT packet")]
    TooLarge(usize),
    /// The session has ended: only after a panic of its task.
    #[error("the MQTT session has ended")]
    Ended,
}

/// How far a [`Publisher`] has come, in messages; one sent several times counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Taken by [`Publisher::publish`].
    pub sent: u64,
    /// Acknowledged by the broker.
    pub acknowledged: u64,
    /// The rest: in memory or on their way. The broker may have taken some of them.
    pub unacknowledged: u64,
}

/// A session that publishes at QoS 1. Up to 20,000 messages wait in memory for their
/// acknowledgements; after a lost connection all of them are sent again, in their order.
#[derive(Debug)]
pub struct Publisher {
    messages: mpsc::Sender<Message>,
    sent: AtomicU64,
    acknowledged: watch::Receiver<u64>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Publisher {
    /// Starts a session as `client_id`, connecting in the background for as long as it takes.
    /// `on_acknowledged` is handed the id of each message that the broker has acknowledged; it must
    /// not block. Needs a tokio runtime around it.
    #[must_use]
    pub fn start(
        settings: &MqttSettings,
        client_id: &str,
        dependency: Dependency,
        on_acknowledged: impl FnMut(u64) + Send + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let (messages, incoming) = mpsc::channel(WAITING);
        let (reported, acknowledged) = watch::channel(0);
        // A clean session: the broker has nothing to keep for one that only sends.
        let options = options(settings, client_id, true);
        let session = Session {
            incoming,
            batch: Vec::new(),
            window: Window::new(IN_FLIGHT),
            acknowledged: 0,
            reported,
            on_acknowledged,
            dependency: dependency.clone(),
        };
        let link = Link::new(options, dependency, stop.clone());
        let task = tokio::spawn(run(session, link, stop.clone()));
        let sent = AtomicU64::new(0);
        Self {
            messages,
            sent,
            acknowledged,
            task,
            stop: stop.drop_guard(),
        }
    }

    /// Takes a message, when there is room for it. Cancel-safe: a future that is dropped has taken
    /// nothing.
    pub async fn publish(
        &self,
        id: u64,
        topic: String,
        payload: impl Into<Bytes>,
    ) -> Result<(), PublishError> {
        let payload = payload.into();
        if topic.is_empty() || topic.len() > 65_535 || topic.contains(['+', '#', '\0']) {
            return Err(PublishError::Topic(topic));
        }
        if topic.len() + payload.len() + OVERHEAD > MAX_PACKET {
            return Err(PublishError::TooLarge(payload.len()));
        }
        let room = self
            .messages
            .reserve()
            .await
            .map_err(|_| PublishError::Ended)?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        room.send(Message { id, topic, payload });
        Ok(())
    }

    /// How far it has come.
    #[must_use]
    pub fn counts(&self) -> Counts {
        counts(&self.acknowledged, &self.sent)
    }

    /// Waits until everything sent so far is acknowledged; `false` if that takes longer than
    /// `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        let mut acknowledged = self.acknowledged.clone();
        let drained = acknowledged.wait_for(|acknowledged| *acknowledged >= sent);
        matches!(timeout(limit, drained).await, Ok(Ok(_)))
    }

    /// Disconnects, within about a second. What isn't acknowledged by then is forgotten.
    pub async fn close(self) -> Counts {
        let Self {
            acknowledged,
            sent,
            task,
            stop,
            ..
        } = self;
        stop.disarm().cancel();
        let ended = task.await;
        if let Err(error) = ended {
            tracing::error!(%error, "the task of an mqtt session ended badly");
        }
        counts(&acknowledged, &sent)
    }
}

fn counts(acknowledged: &watch::Receiver<u64>, sent: &AtomicU64) -> Counts {
    // In this order: a message is counted as sent before it can be acknowledged.
    let acknowledged = *acknowledged.borrow();
    let sent = sent.load(Ordering::Relaxed);
    Counts {
        sent,
        acknowledged,
        unacknowledged: sent.saturating_sub(acknowledged),
    }
}

async fn run(
    mut session: Session<impl FnMut(u64) + Send>,
    mut link: Link,
    stop: CancellationToken,
) {
    while let Some((mut connection, _)) = link.connect().await {
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ended = session.serve(&mut connection) => Some(ended),
        };
        session.report();
        match ended {
            None => return connection.close([]).await,
            Some(Ok(never)) => match never {},
            Some(Err(fault)) => link.lost(fault).await,
        }
    }
}

/// What the session's task works on.
struct Session<F> {
    incoming: mpsc::Receiver<Message>,
    batch: Vec<Message>,
    window: Window,
    acknowledged: u64,
    reported: watch::Sender<u64>,
    on_acknowledged: F,
    dependency: Dependency,
}

impl<F: FnMut(u64)> Session<F> {
    /// Sends and counts until the connection ends. The future may be dropped at any point: what was
    /// taken is in the window by then.
    async fn serve(&mut self, connection: &mut Connection) -> Result<Infallible, Fault> {
        self.window.rewind();
        self.dependency.up();
        let mut open = true;
        loop {
            self.report();
            if self.window.has_unsent() {
                connection.send(self.window.unsent()).await?;
            }
            let room = self.window.room();
            let ping_due = connection.ping_due();
            tokio::select! {
                packet = connection.read() => {
                    self.take(&packet?);
                    connection.rest(|packet| { self.take(&packet); Ok(true) }).await?;
                }
                taken = self.incoming.recv_many(&mut self.batch, room), if open && room > 0 => {
                    open = taken > 0;
                    self.batch.drain(..).for_each(|message| self.window.push(message));
                }
                () = ping_due => connection.ping(true).await?,
            }
        }
    }

    fn take(&mut self, packet: &Packet) {
        if let Packet::PubAck(ack) = packet
            && let Some(id) = self.window.acknowledge(ack.pkid)
        {
            self.acknowledged += 1;
            (self.on_acknowledged)(id);
        }
    }

    fn report(&mut self) {
        self.reported.send_if_modified(|reported| {
            let before = std::mem::replace(reported, self.acknowledged);
            before != self.acknowledged
        });
    }
}
