//! Messages of Redis Pub/Sub.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use common::backoff::Backoff;
use common::health::Dependency;
use common::log_interval::{LogInterval, WARNING_INTERVAL};
use common::metric;
use common::settings::{RedisSettings, RedisTls};
use common::tls::{self, Stream};
use metrics::counter;
use model::pipeline::SourceTable;
use redis::AsyncConnectionConfig;
use redis::aio::{MultiplexedConnection, PubSub, PubSubSink, PubSubStream};
use redis_client::{login, server_of_url};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::StreamExt;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::source::{Delivery, SessionEnded, Source};

/// Messages that the caller hasn't received yet. Further ones are dropped: the library reads without end,
/// so they would fill the memory.
const CAPACITY: usize = 10_000;
/// How long to wait for a connection, for the answer to a subscription, and for that to a ping.
const REPLY_LIMIT: Duration = Duration::from_secs(5);
/// How often a connection is checked.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const MIN_WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(5);
/// A connection that lasted this long resets the backoff.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Channels of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channels {
    /// The channel of this name.
    Name(String),
    /// The channels that this pattern of PSUBSCRIBE matches.
    Pattern(String),
}

/// A Redis server, and what to subscribe to.
#[derive(Debug, Clone)]
pub struct PubSubSettings {
    server: RedisSettings,
    channels: Channels,
}

/// Why a Redis server can't be used. The message contains no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PubSubError(String);

impl PubSubError {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl PubSubSettings {
    /// The server of these settings.
    #[must_use]
    pub fn at(settings: &RedisSettings, channels: Channels) -> Self {
        let server = settings.clone();
        Self { server, channels }
    }

    /// The server and the channels of a pipeline file; `redis` is used if it names no server.
    pub fn of_file(source: &SourceTable, redis: &RedisSettings) -> Result<Self, PubSubError> {
        let SourceTable {
            url,
            channel,
            pattern,
            ..
        } = source;
        let channels = match (channel, pattern) {
            (_, Some(pattern)) => Channels::Pattern(pattern.to_string()),
            // The file's check requires one of both.
            (channel, None) => Channels::Name(channel.as_deref().cloned().unwrap_or_default()),
        };
        match url {
            Some(url) => Self::from_url(url, &redis.tls, channels),
            None => Ok(Self::at(redis, channels)),
        }
    }

    /// A server by its URL, as [`server_of_url`] reads it.
    pub fn from_url(url: &str, tls: &RedisTls, channels: Channels) -> Result<Self, PubSubError> {
        let server = server_of_url(url, tls).map_err(PubSubError::new)?;
        Ok(Self { server, channels })
    }

    fn address(&self) -> String {
        format!("{}:{}", self.server.redis_host, self.server.redis_port)
    }

    async fn open(&self) -> Result<Stream, PubSubError> {
        let RedisSettings {
            redis_host,
            redis_port,
            ..
        } = &self.server;
        let tls = self.server.client_tls();
        let opened = tls::open(redis_host, *redis_port, tls.as_ref()).await;
        opened.map_err(|error| self.error(error))
    }

    /// An error of the server at this address, with its remedy if it is one of TLS.
    fn error(&self, error: impl std::error::Error + 'static) -> PubSubError {
        let tls = self.server.client_tls();
        let explained = tls.and_then(|tls| tls.explain(&error, &self.server.redis_host));
        let error = explained.unwrap_or_else(|| error.to_string());
        PubSubError(format!("cannot use Redis at {}: {error}", self.address()))
    }

    fn silent(&self) -> PubSubError {
        PubSubError(format!("{} doesn't answer", self.address()))
    }
}

/// A subscription of Redis Pub/Sub.
///
/// Redis keeps no messages: those that are published while there is no connection, or that wait in this
/// process when it ends, are lost. Nothing is acknowledged. If the receiver falls behind, messages are
/// dropped and counted once 10,000 wait.
#[derive(Debug)]
pub struct RedisSubscriber {
    deliveries: mpsc::Receiver<Delivery<()>>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl RedisSubscriber {
    /// Starts a subscription. It connects in the background, and retries without end; `dependency` is up
    /// while it is subscribed. Needs a tokio runtime.
    #[must_use]
    pub fn start(settings: &PubSubSettings, dependency: Dependency) -> Self {
        let stop = CancellationToken::new();
        let (outgoing, deliveries) = mpsc::channel(CAPACITY);
        let task = SubscriberTask {
            settings: settings.clone(),
            outgoing,
            dependency,
            backoff: Backoff::new(MIN_WAIT, MAX_WAIT),
            log: LogInterval::new(WARNING_INTERVAL),
            unlogged: 0,
        };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            stopped.run_until_cancelled(task.run()).await;
        });
        Self {
            deliveries,
            task,
            stop: stop.drop_guard(),
        }
    }
}

impl Source for RedisSubscriber {
    const NAME: &'static str = "redis_pubsub";
    type Ticket = ();

    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery<()>>,
    ) -> Result<usize, SessionEnded> {
        match self.deliveries.recv_many(batch, max.max(1)).await {
            0 => Err(SessionEnded),
            taken => Ok(taken),
        }
    }

    /// Does nothing: Redis expects no acknowledgement.
    fn ack(&self, _: impl IntoIterator<Item = ()>) {}

    async fn close(self) {
        let Self { task, stop, .. } = self;
        stop.disarm().cancel();
        if let Err(error) = task.await {
            tracing::error!(%error, "the task of a subscription panicked");
        }
    }
}

struct SubscriberTask {
    settings: PubSubSettings,
    outgoing: mpsc::Sender<Delivery<()>>,
    dependency: Dependency,
    backoff: Backoff,
    log: LogInterval,
    /// Dropped since the last log message.
    unlogged: u64,
}

impl SubscriberTask {
    async fn run(mut self) {
        loop {
            let opened = Instant::now();
            let error = match self.subscribe().await {
                Ok((mut sink, mut messages)) => {
                    self.dependency.up();
                    self.forward(&mut sink, &mut messages).await
                }
                Err(error) => error,
            };
            if self.outgoing.is_closed() {
                return;
            }
            self.dependency.down(&error);
            if opened.elapsed() >= STABLE_AFTER {
                self.backoff.reset();
            }
            sleep(self.backoff.next_wait()).await;
        }
    }

    async fn subscribe(&self) -> Result<(PubSubSink, PubSubStream), PubSubError> {
        let settings = &self.settings;
        let subscribe = async {
            let stream = settings.open().await?;
            let subscribed = async {
                let mut pubsub = PubSub::new(&login(&settings.server), stream).await?;
                match &settings.channels {
                    Channels::Name(name) => pubsub.subscribe(name).await?,
                    Channels::Pattern(pattern) => pubsub.psubscribe(pattern).await?,
                }
                Ok::<_, redis::RedisError>(pubsub.split())
            };
            subscribed.await.map_err(|error| settings.error(error))
        };
        match timeout(REPLY_LIMIT, subscribe).await {
            Ok(subscribed) => subscribed,
            Err(_) => Err(settings.silent()),
        }
    }

    /// Counts a message for which there is no room.
    fn dropped(&mut self) {
        counter!(metric::PUBSUB_DROPPED).increment(1);
        self.unlogged += 1;
        if self.log.is_due(std::time::Instant::now()) {
            let messages = std::mem::take(&mut self.unlogged);
            tracing::warn!(
                messages,
                "dropped messages of Redis Pub/Sub, because {CAPACITY} wait already: the ingester is \
                 too slow, or its list is full"
            );
        }
    }

    /// Forwards messages until the connection ends. Returns why.
    async fn forward(&mut self, sink: &mut PubSubSink, messages: &mut PubSubStream) -> PubSubError {
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = ping.tick() => {
                    let answer = timeout(REPLY_LIMIT, sink.ping::<redis::Value>());
                    match answer.await {
                        Ok(Ok(_)) => continue,
                        Ok(Err(error)) => return PubSubError::new(error),
                        Err(_) => return PubSubError::new("Redis doesn't answer a ping"),
                    }
                }
            };
            let Some(message) = message else {
                return PubSubError::new("Redis has closed the connection");
            };
            let payload = Bytes::copy_from_slice(message.get_payload_bytes());
            let delivery = Delivery::new(message.get_channel_name().to_owned(), payload, ());
            match self.outgoing.try_send(delivery) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => self.dropped(),
                Err(TrySendError::Closed(_)) => return PubSubError::new("the receiver has ended"),
            }
        }
    }
}

/// Publishes to Redis Pub/Sub. Redis keeps nothing: a message that nobody has subscribed to is lost.
#[derive(Debug)]
pub struct RedisPublisher {
    settings: PubSubSettings,
    /// With the task that reads and writes.
    connection: Mutex<Option<(MultiplexedConnection, JoinSet<()>)>>,
    dependency: Dependency,
}

impl RedisPublisher {
    /// A publisher to the server of these settings, whose channels aren't used. It connects with the first
    /// message.
    #[must_use]
    pub fn new(settings: &PubSubSettings, dependency: Dependency) -> Self {
        Self {
            settings: settings.clone(),
            connection: Mutex::default(),
            dependency,
        }
    }

    /// Publishes a message; returns how many clients received it. After an error, the next call connects
    /// again.
    pub async fn publish(&self, channel: &str, payload: &[u8]) -> Result<u64, PubSubError> {
        let mut connection = self.connection.lock().await;
        let published = timeout(
            REPLY_LIMIT,
            self.try_publish(&mut connection, channel, payload),
        );
        let published = match published.await {
            Ok(published) => published,
            Err(_) => Err(self.settings.silent()),
        };
        match &published {
            Ok(_) => self.dependency.up(),
            Err(error) => {
                *connection = None;
                self.dependency.down(error);
            }
        }
        published
    }

    async fn try_publish(
        &self,
        connection: &mut Option<(MultiplexedConnection, JoinSet<()>)>,
        channel: &str,
        payload: &[u8],
    ) -> Result<u64, PubSubError> {
        let settings = &self.settings;
        let (current, _) = if let Some(current) = connection {
            current
        } else {
            let stream = settings.open().await?;
            let (login, config) = (login(&settings.server), AsyncConnectionConfig::new());
            let opened = MultiplexedConnection::new_with_config(&login, stream, config).await;
            let (opened, driver) = opened.map_err(|error| settings.error(error))?;
            let mut task = JoinSet::new();
            task.spawn(driver);
            connection.insert((opened, task))
        };
        let published = redis::cmd("PUBLISH")
            .arg(channel)
            .arg(payload)
            .query_async(current)
            .await;
        published.map_err(|error| settings.error(error))
    }
}
