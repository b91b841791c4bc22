//! A session with the broker that publishes, and keeps each message until it is acknowledged.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::health::Dependency;
use common::log_interval::{LogInterval, WARNING_INTERVAL};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::broker::{BrokerConnection, BrokerError, MAX_PACKET, Received, options};
use crate::reconnect::Reconnector;
use crate::settings::MqttSettings;
use crate::window::{Message, Window};

/// Messages that wait for an acknowledgement at the same time.
const IN_FLIGHT: u16 = 1_000;
/// Messages that wait to be sent. Together with those in flight they are all that is in memory.
const WAITING: usize = 19_000;
/// The most bytes of a packet besides topic and payload.
const PACKET_OVERHEAD: usize = 16;

/// Why a message can't be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A topic that is empty, too long, or contains `+`, `#` or NUL. The broker would end the connection
    /// each time it is sent.
    #[error("not a topic that can be published to: {0:?}")]
    Topic(String),
    /// Larger than an MQTT packet can be.
    #[error("a payload of {0} bytes is larger than an MQTT packet")]
    TooLarge(usize),
    /// The session has ended. This happens only if its task has panicked.
    #[error("the MQTT session has ended")]
    Ended,
}

/// Counts of a [`Publisher`]'s messages. A message that is sent several times counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Accepted by [`Publisher::publish`].
    pub sent: u64,
    /// Acknowledged by the broker.
    pub acknowledged: u64,
    /// Dropped, because a broker of MQTT 5 said that it takes no packets of that size.
    pub too_large: u64,
    /// The others: in memory or in flight. The broker may have received some of them.
    pub unacknowledged: u64,
}

/// Messages that need no more work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Done {
    acknowledged: u64,
    too_large: u64,
}

impl Done {
    const fn all(self) -> u64 {
        self.acknowledged + self.too_large
    }
}

/// A session that publishes at QoS 1. Up to 20,000 messages wait in memory for their
/// acknowledgements. After a reconnect all of them are sent again, in order. A message that is larger than
/// the broker takes is dropped, logged and counted.
#[derive(Debug)]
pub struct Publisher {
    messages: mpsc::Sender<Message>,
    sent: AtomicU64,
    done: watch::Receiver<Done>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Publisher {
    /// Starts a session as `client_id`. It connects in the background, and retries without end. Calls
    /// `on_acknowledged`, which must not block, with the id of each message that the broker has
    /// acknowledged. Needs a tokio runtime.
    #[must_use]
    pub fn start(
        settings: &MqttSettings,
        client_id: &str,
        dependency: Dependency,
        on_acknowledged: impl FnMut(u64) + Send + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let (messages, incoming) = mpsc::channel(WAITING);
        let (reported, done) = watch::channel(Done::default());
        // A clean session: the broker has nothing to keep for a client that only publishes.
        let options = options(settings, client_id, true);
        let task = PublisherTask {
            incoming,
            batch: Vec::new(),
            window: Window::new(IN_FLIGHT),
            done: Done::default(),
            reported,
            on_acknowledged,
            dependency: dependency.clone(),
            warning: LogInterval::new(WARNING_INTERVAL),
        };
        let reconnector = Reconnector::new(options, dependency, stop.clone());
        let task = tokio::spawn(run(task, reconnector, stop.clone()));
        let sent = AtomicU64::new(0);
        Self {
            messages,
            sent,
            done,
            task,
            stop: stop.drop_guard(),
        }
    }

    /// Accepts a message once fewer than 20,000 wait. Cancel-safe: if the future is dropped, the message
    /// isn't accepted.
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
        if topic.len() + payload.len() + PACKET_OVERHEAD > MAX_PACKET {
            return Err(PublishError::TooLarge(payload.len()));
        }
        let slot = self
            .messages
            .reserve()
            .await
            .map_err(|_| PublishError::Ended)?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        slot.send(Message { id, topic, payload });
        Ok(())
    }

    /// How many messages were sent and acknowledged.
    #[must_use]
    pub fn counts(&self) -> Counts {
        counts(&self.done, &self.sent)
    }

    /// Waits until everything sent so far is acknowledged, or dropped because it is too large. Returns
    /// `false` if that takes longer than `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        let mut done = self.done.clone();
        let drained = done.wait_for(|done| done.all() >= sent);
        matches!(timeout(limit, drained).await, Ok(Ok(_)))
    }

    /// Disconnects, within about a second. Messages that aren't acknowledged by then are dropped.
    pub async fn close(self) -> Counts {
        let Self {
            done,
            sent,
            task,
            stop,
            ..
        } = self;
        stop.disarm().cancel();
        let ended = task.await;
        if let Err(error) = ended {
            tracing::error!(%error, "the task of an mqtt session panicked");
        }
        counts(&done, &sent)
    }
}

fn counts(done: &watch::Receiver<Done>, sent: &AtomicU64) -> Counts {
    // In this order: a message is counted as sent before it can be acknowledged.
    let done = *done.borrow();
    let sent = sent.load(Ordering::Relaxed);
    Counts {
        sent,
        acknowledged: done.acknowledged,
        too_large: done.too_large,
        unacknowledged: sent.saturating_sub(done.all()),
    }
}

async fn run(
    mut task: PublisherTask<impl FnMut(u64) + Send>,
    mut reconnector: Reconnector,
    stop: CancellationToken,
) {
    while let Some((mut connection, _)) = reconnector.connect().await {
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ended = task.serve(&mut connection) => Some(ended),
        };
        task.report();
        match ended {
            None => return connection.close([]).await,
            Some(Ok(never)) => match never {},
            Some(Err(error)) => reconnector.lost(error).await,
        }
    }
}

/// The state of the session's task.
struct PublisherTask<F> {
    incoming: mpsc::Receiver<Message>,
    batch: Vec<Message>,
    window: Window,
    done: Done,
    reported: watch::Sender<Done>,
    on_acknowledged: F,
    dependency: Dependency,
    warning: LogInterval,
}

impl<F: FnMut(u64)> PublisherTask<F> {
    /// Sends messages and counts acknowledgements until the connection ends. Cancel-safe: accepted
    /// messages are in the window.
    async fn serve(
        &mut self,
        connection: &mut BrokerConnection,
    ) -> Result<Infallible, BrokerError> {
        let limits = connection.limits();
        if limits.max_qos == 0 {
            let reason = "it takes messages at QoS 0 only, which loses some".to_owned();
            return Err(BrokerError::Refused(reason));
        }
        self.window.rewind(limits.receive_max);
        for message in self.window.remove_larger(limits.max_packet) {
            self.drop_too_large(&message, limits.max_packet);
        }
        self.dependency.up();
        let mut open = true;
        loop {
            self.report();
            if self.window.has_unsent() {
                connection.send(self.window.unsent()).await?;
            }
            let free = self.window.free();
            let ping_due = connection.ping_due();
            tokio::select! {
                packet = connection.read() => {
                    self.handle(&packet?);
                    connection.read_arrived(|packet| { self.handle(&packet); Ok(true) }).await?;
                }
                taken = self.incoming.recv_many(&mut self.batch, free), if open && free > 0 => {
                    open = taken > 0;
                    self.take_batch(limits.max_packet);
                }
                () = ping_due => connection.ping(true).await?,
            }
        }
    }

    /// Moves the batch to the window, but for messages whose packets have more than `max` bytes: to send them
    /// would end each connection, and nothing behind them would ever arrive.
    fn take_batch(&mut self, max: usize) {
        let mut batch = std::mem::take(&mut self.batch);
        for message in batch.drain(..) {
            if message.packet_length() > max {
                self.drop_too_large(&message, max);
            } else {
                self.window.push(message);
            }
        }
        // For its memory.
        self.batch = batch;
    }

    fn drop_too_large(&mut self, message: &Message, max: usize) {
        self.done.too_large += 1;
        if self.warning.is_due(Instant::now()) {
            tracing::error!(
                topic = message.topic,
                bytes = message.packet_length(),
                max,
                dropped = self.done.too_large,
                "a message is larger than the broker takes, and is dropped; raise the broker's maximum packet \
                 size"
            );
        }
    }

    fn handle(&mut self, packet: &Received) {
        if let Received::PubAck(packet_id) = packet
            && let Some(id) = self.window.acknowledge(*packet_id)
        {
            self.done.acknowledged += 1;
            (self.on_acknowledged)(id);
        }
    }

    fn report(&mut self) {
        self.reported.send_if_modified(|reported| {
            let before = std::mem::replace(reported, self.done);
            before != self.done
        });
    }
}
