//! A session with the broker that receives messages, and acknowledges each only when it is told to.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use common::faults::{self, Point};
use common::health::Dependency;
use common::metric;
use metrics::counter;
use rumqttc::{Packet, PubAck, Publish, QoS, Subscribe};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::broker::{BrokerConnection, BrokerError, Received, options};
use crate::reconnect::Reconnector;
use crate::settings::{MqttSettings, Retained, SubscribeSettings};
use crate::source::{Delivery, SessionEnded, Source, Ticket};

/// Messages that the caller hasn't received yet.
const CAPACITY: usize = 10_000;
/// The packet id of the one SUBSCRIBE of a connection.
const SUBSCRIBE_ID: u16 = 1;

/// A persistent session with the broker, subscribed to one filter at QoS 1.
///
/// If the receiver falls behind, reads from the network pause once 10,000 messages wait (Mosquitto
/// stops earlier, at `max_inflight_messages`). Acknowledgements and pings are still sent, so the
/// connection stays open, and the broker keeps the messages behind. When a connection ends, the broker
/// delivers what isn't acknowledged again, even if earlier copies still wait here.
#[derive(Debug)]
pub struct Subscriber {
    deliveries: mpsc::Receiver<Delivery>,
    /// Unbounded: the deliveries that aren't acknowledged bound what is in it.
    acks: mpsc::UnboundedSender<Vec<Ticket>>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Subscriber {
    /// Starts a session as `client_id`. It connects in the background, and retries without end;
    /// `dependency` is up while it is connected and subscribed. Needs a tokio runtime.
    #[must_use]
    pub fn start(
        settings: &MqttSettings,
        subscribe: &SubscribeSettings,
        client_id: &str,
        dependency: Dependency,
    ) -> Self {
        Self::with_capacity(settings, subscribe, client_id, dependency, CAPACITY)
    }

    /// As [`Subscriber::start`], with another limit on the messages that wait.
    #[must_use]
    pub fn with_capacity(
        settings: &MqttSettings,
        subscribe: &SubscribeSettings,
        client_id: &str,
        dependency: Dependency,
        capacity: usize,
    ) -> Self {
        let stop = CancellationToken::new();
        let (outgoing, deliveries) = mpsc::channel(capacity);
        let (acks, tickets) = mpsc::unbounded_channel();
        let task = SubscriberTask {
            filter: subscribe.mqtt_topic.clone(),
            retained: subscribe.retained,
            ignored: Vec::new(),
            has_logged_retained: false,
            has_logged_expiry: false,
            subscribed: false,
            connection: 0,
            outgoing,
            held: None,
            tickets,
            dependency: dependency.clone(),
        };
        // At least as many as the caller may want to have before it acknowledges.
        let receive_max = u16::try_from(capacity).unwrap_or(u16::MAX).max(1);
        let options = options(settings, client_id, false).with_receive_max(receive_max);
        let reconnector = Reconnector::new(options, dependency, stop.clone());
        let task = tokio::spawn(run(task, reconnector, stop.clone()));
        Self {
            deliveries,
            acks,
            task,
            stop: stop.drop_guard(),
        }
    }
}

impl Source for Subscriber {
    const NAME: &'static str = "mqtt";
    type Ticket = Ticket;

    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery>,
    ) -> Result<usize, SessionEnded> {
        match self.deliveries.recv_many(batch, max.max(1)).await {
            0 => Err(SessionEnded),
            taken => Ok(taken),
        }
    }

    fn ack(&self, tickets: impl IntoIterator<Item = Ticket>) {
        // Fails only when the task has ended, and the connection with it.
        let _ = self.acks.send(tickets.into_iter().collect());
    }

    /// Returns at once while there is no connection. The broker keeps the session.
    async fn close(self) {
        let Self { task, stop, .. } = self;
        stop.disarm().cancel();
        if let Err(error) = task.await {
            tracing::error!(%error, "the task of an mqtt session panicked");
        }
    }
}

async fn run(mut task: SubscriberTask, mut reconnector: Reconnector, stop: CancellationToken) {
    while let Some((mut connection, session_present)) = reconnector.connect().await {
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ended = task.serve(&mut connection, session_present) => Some(ended),
        };
        match ended {
            None => return connection.close(task.acks(None)).await,
            Some(Ok(never)) => match never {},
            Some(Err(error)) => reconnector.lost(error).await,
        }
    }
}

/// The state of the session's task.
struct SubscriberTask {
    filter: String,
    retained: Retained,
    /// Tickets of retained messages that were ignored and aren't acknowledged yet.
    ignored: Vec<Ticket>,
    has_logged_retained: bool,
    has_logged_expiry: bool,
    /// The broker has confirmed the subscription in its present session.
    subscribed: bool,
    /// The number of the current connection.
    connection: u64,
    outgoing: mpsc::Sender<Delivery>,
    /// A message for which `outgoing` had no capacity. Nothing is read while there is one.
    held: Option<Delivery>,
    tickets: mpsc::UnboundedReceiver<Vec<Ticket>>,
    dependency: Dependency,
}

impl SubscriberTask {
    /// Receives and acknowledges until the connection ends. Cancel-safe: messages that are lost with
    /// the future aren't acknowledged.
    async fn serve(
        &mut self,
        connection: &mut BrokerConnection,
        session_present: bool,
    ) -> Result<Infallible, BrokerError> {
        self.warn_of_expiry(connection.limits().session_expiry);
        self.connection += 1;
        self.held = None;
        self.ignored.clear();
        if self.subscribed && session_present {
            self.dependency.up();
        } else {
            self.subscribed = false;
            let mut subscribe = Subscribe::new(&self.filter, QoS::AtLeastOnce);
            subscribe.pkid = SUBSCRIBE_ID;
            connection.send([Packet::Subscribe(subscribe)]).await?;
        }
        loop {
            let reading = self.held.is_none();
            let ping_due = connection.ping_due();
            tokio::select! {
                packet = connection.read(), if reading => {
                    if self.handle(packet?)? {
                        connection.read_arrived(|packet| self.handle(packet)).await?;
                    }
                    if !self.ignored.is_empty() {
                        let tickets = std::mem::take(&mut self.ignored);
                        connection.send(self.acks(Some(tickets))).await?;
                    }
                }
                () = has_capacity(&self.outgoing), if !reading => {
                    if let Some(delivery) = self.held.take() {
                        self.offer(delivery);
                    }
                }
                Some(tickets) = self.tickets.recv() => {
                    faults::reach(Point::BeforeAcknowledgement);
                    connection.send(self.acks(Some(tickets))).await?;
                    faults::reach(Point::AfterAcknowledgement);
                }
                () = ping_due => connection.ping(reading).await?,
            }
        }
    }

    /// Tells once how long an outage the broker's session survives.
    fn warn_of_expiry(&mut self, session_expiry: Option<Duration>) {
        if let Some(expiry) = session_expiry
            && !self.has_logged_expiry
        {
            tracing::warn!(
                held_seconds = expiry.as_secs(),
                "the broker keeps our session, and the messages for it, only this long without a \
                 connection: after a longer outage they are lost. Raise its session expiry"
            );
            self.has_logged_expiry = true;
        }
    }

    /// Handles a packet. Returns `false` if no other may be read now.
    fn handle(&mut self, packet: Received) -> Result<bool, BrokerError> {
        match packet {
            Received::Publish(publish) => {
                let delivery = self.delivery(publish);
                if delivery.retain && self.retained == Retained::Ignore {
                    self.ignore(delivery);
                } else {
                    self.offer(delivery);
                }
            }
            Received::SubAck(granted) => {
                let reason = match granted.first() {
                    Some(Ok(1)) => None,
                    Some(Ok(qos)) => Some(format!("it grants QoS {qos}")),
                    Some(Err(reason)) => Some(reason.to_string()),
                    None => Some("its answer is empty".to_owned()),
                };
                if let Some(reason) = reason {
                    let filter = self.filter.clone();
                    return Err(BrokerError::Subscription { filter, reason });
                }
                self.subscribed = true;
                self.dependency.up();
            }
            _ => {}
        }
        Ok(self.held.is_none())
    }

    fn offer(&mut self, delivery: Delivery) {
        if let Err(TrySendError::Full(delivery)) = self.outgoing.try_send(delivery) {
            self.held = Some(delivery);
        }
    }

    fn ignore(&mut self, delivery: Delivery) {
        counter!(metric::IGNORED_RETAINED).increment(1);
        if !self.has_logged_retained {
            let topic = &delivery.topic;
            tracing::info!(
                topic,
                "ignoring retained messages; RETAINED=accept takes them"
            );
            self.has_logged_retained = true;
        }
        self.ignored.push(delivery.ticket);
    }

    fn delivery(&self, publish: Publish) -> Delivery {
        let ticket = Ticket {
            connection: self.connection,
            packet_id: publish.pkid,
            // The subscription is for QoS 1.
            exactly_once: false,
            refused: false,
        };
        Delivery {
            topic: publish.topic,
            payload: publish.payload,
            truncated: None,
            qos: publish.qos as u8,
            retain: publish.retain,
            dup: publish.dup,
            received: Instant::now(),
            ticket,
            refused: None,
            origin: None,
            share: None,
        }
    }

    /// The PUBACKs for these tickets and for all others that wait. Tickets of earlier connections are
    /// left out: their packet ids may belong to other messages by now, which the broker would then
    /// never deliver.
    fn acks(&mut self, first: Option<Vec<Ticket>>) -> Vec<Packet> {
        let mut packets = Vec::new();
        let mut next = first.or_else(|| self.tickets.try_recv().ok());
        while let Some(tickets) = next {
            let present = tickets
                .iter()
                .filter(|ticket| ticket.packet_id != 0 && ticket.connection == self.connection);
            packets.extend(present.map(|ticket| Packet::PubAck(PubAck::new(ticket.packet_id))));
            next = self.tickets.try_recv().ok();
        }
        packets
    }
}

/// Waits until `outgoing` has capacity. Only this task sends on it.
async fn has_capacity(outgoing: &mpsc::Sender<Delivery>) {
    let _ = outgoing.reserve().await;
}

#[cfg(test)]
mod tests {
    use common::health::Dependency;
    use tokio::sync::mpsc;

    use super::{Received, Retained, SubscriberTask};
    use crate::broker::Reason;

    #[test]
    fn only_a_subscription_at_qos_1_counts() {
        let granted = |code| {
            let mut task = SubscriberTask {
                filter: "rigs/#".into(),
                retained: Retained::Ignore,
                ignored: Vec::new(),
                has_logged_retained: false,
                has_logged_expiry: false,
                subscribed: false,
                connection: 1,
                outgoing: mpsc::channel(1).0,
                held: None,
                tickets: mpsc::unbounded_channel().1,
                dependency: Dependency::unreported("mqtt"),
            };
            let handled = task.handle(Received::SubAck(vec![code]));
            (task.subscribed, handled.map_err(|error| error.to_string()))
        };
        assert_eq!(granted(Ok(1)), (true, Ok(true)));
        for code in [Err(Reason(0x80)), Ok(0), Ok(2)] {
            let (subscribed, handled) = granted(code);
            assert!(!subscribed && handled.is_err_and(|error| error.contains("rigs/#")));
        }
    }
}
