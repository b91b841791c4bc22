//! A session that receives, and acknowledges a message only when it is told to.

use std::convert::Infallible;

use common::faults::{self, Point};
use common::health::Dependency;
use rumqttc::{Packet, PubAck, Publish, QoS, Subscribe, SubscribeReasonCode};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::{Connection, Fault, options};
use crate::link::Link;
use crate::settings::MqttSettings;
use crate::source::{Delivery, SessionEnded, Source, Ticket};

/// Messages that wait to be received by the caller.
const CAPACITY: usize = 10_000;
/// The packet id of the one SUBSCRIBE of a connection.
const SUBSCRIBE_ID: u16 = 1;

/// A session that the broker keeps while we are away, subscribed to one filter at QoS 1.
///
/// Who stops receiving for long stops the reading from the network once 10,000 messages wait
/// (Mosquitto stops earlier, at `max_inflight_messages`). Acknowledgements and pings go on, so the
/// connection stays, and the broker holds what is behind. Whatever isn't acknowledged when a
/// connection ends is delivered again over the next, also while earlier copies still wait here.
#[derive(Debug)]
pub struct Subscriber {
    deliveries: mpsc::Receiver<Delivery>,
    /// Not bounded, since what can be in it is: by the deliveries that are outstanding.
    acks: mpsc::UnboundedSender<Vec<Ticket>>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Subscriber {
    /// Starts a session as `client_id`, connecting in the background for as long as it takes.
    /// `dependency` is up while it is connected and subscribed. Needs a tokio runtime around it.
    #[must_use]
    pub fn start(
        settings: &MqttSettings,
        filter: &str,
        client_id: &str,
        dependency: Dependency,
    ) -> Self {
        Self::with_capacity(settings, filter, client_id, dependency, CAPACITY)
    }

    /// As [`Subscriber::start`], for another number of messages that wait to be received.
    #[must_use]
    pub fn with_capacity(
        settings: &MqttSettings,
        filter: &str,
        client_id: &str,
        dependency: Dependency,
        capacity: usize,
    ) -> Self {
        let stop = CancellationToken::new();
        let (outgoing, deliveries) = mpsc::channel(capacity);
        let (acks, tickets) = mpsc::unbounded_channel();
        let session = Session {
            filter: filter.to_owned(),
            subscribed: false,
            connection: 0,
            outgoing,
            held: None,
            tickets,
            dependency: dependency.clone(),
        };
        let link = Link::new(
            options(settings, client_id, false),
            dependency,
            stop.clone(),
        );
        let task = tokio::spawn(run(session, link, stop.clone()));
        Self {
            deliveries,
            acks,
            task,
            stop: stop.drop_guard(),
        }
    }
}

impl Source for Subscriber {
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
        // Refused only when the task is gone, and the connection with it.
        let _ = self.acks.send(tickets.into_iter().collect());
    }

    /// At once while there is no connection. The broker keeps the session.
    async fn close(self) {
        let Self { task, stop, .. } = self;
        stop.disarm().cancel();
        if let Err(error) = task.await {
            tracing::error!(%error, "the task of an mqtt session ended badly");
        }
    }
}

async fn run(mut session: Session, mut link: Link, stop: CancellationToken) {
    while let Some((mut connection, session_present)) = link.connect().await {
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ended = session.serve(&mut connection, session_present) => Some(ended),
        };
        match ended {
            None => return connection.close(session.acks(None)).await,
            Some(Ok(never)) => match never {},
            Some(Err(fault)) => link.lost(fault).await,
        }
    }
}

/// What the session's task works on.
struct Session {
    filter: String,
    /// The broker has confirmed the subscription to this process, for the session it had then.
    subscribed: bool,
    /// The number of the present connection.
    connection: u64,
    outgoing: mpsc::Sender<Delivery>,
    /// The message that found `outgoing` full; nothing is read while there is one.
    held: Option<Delivery>,
    tickets: mpsc::UnboundedReceiver<Vec<Ticket>>,
    dependency: Dependency,
}

impl Session {
    /// Receives and acknowledges until the connection ends. The future may be dropped at any point:
    /// what is lost with it wasn't acknowledged.
    async fn serve(
        &mut self,
        connection: &mut Connection,
        session_present: bool,
    ) -> Result<Infallible, Fault> {
        self.connection += 1;
        self.held = None;
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
                    if self.take(packet?)? {
                        connection.rest(|packet| self.take(packet)).await?;
                    }
                }
                () = room(&self.outgoing), if !reading => {
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

    /// Handles a packet; `false` if no other may be read now.
    fn take(&mut self, packet: Packet) -> Result<bool, Fault> {
        match packet {
            Packet::Publish(publish) => {
                let delivery = self.delivery(publish);
                self.offer(delivery);
            }
            Packet::SubAck(granted) => {
                let qos = granted.return_codes.first();
                if qos != Some(&SubscribeReasonCode::Success(QoS::AtLeastOnce)) {
                    return Err(Fault::Subscription(self.filter.clone()));
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

    fn delivery(&self, publish: Publish) -> Delivery {
        let ticket = Ticket {
            connection: self.connection,
            packet_id: publish.pkid,
        };
        Delivery {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos as u8,
            retain: publish.retain,
            dup: publish.dup,
            ticket,
            share: None,
        }
    }

    /// The packets for these tickets and for all others that wait. Only those of the present
    /// connection count: a packet id of an earlier one may stand for another message by now, which
    /// the broker would drop unseen.
    fn acks(&mut self, first: Option<Vec<Ticket>>) -> Vec<Packet> {
        let mut packets = Vec::new();
        let mut next = first.or_else(|| self.tickets.try_recv().ok());
        while let Some(tickets) = next {
            let is_present = |ticket: &&Ticket| ticket.connection == self.connection;
            let present = tickets
                .iter()
                .filter(|ticket| ticket.packet_id != 0)
                .filter(is_present);
            packets.extend(present.map(|ticket| Packet::PubAck(PubAck::new(ticket.packet_id))));
            next = self.tickets.try_recv().ok();
        }
        packets
    }
}

/// Waits until there is room; nobody else can take it.
async fn room(outgoing: &mpsc::Sender<Delivery>) {
    let _ = outgoing.reserve().await;
}

#[cfg(test)]
mod tests {
    use common::health::Dependency;
    use rumqttc::{Packet, QoS, SubAck, SubscribeReasonCode};
    use tokio::sync::mpsc;

    use super::{SUBSCRIBE_ID, Session};

    #[test]
    fn only_a_subscription_at_qos_1_counts() {
        let granted = |code| {
            let mut session = Session {
                filter: "rigs/#".into(),
                subscribed: false,
                connection: 1,
                outgoing: mpsc::channel(1).0,
                held: None,
                tickets: mpsc::unbounded_channel().1,
                dependency: Dependency::unreported("mqtt"),
            };
            let said = session.take(Packet::SubAck(SubAck::new(SUBSCRIBE_ID, vec![code])));
            (session.subscribed, said.map_err(|fault| fault.to_string()))
        };
        let success = SubscribeReasonCode::Success;
        assert_eq!(granted(success(QoS::AtLeastOnce)), (true, Ok(true)));
        for code in [SubscribeReasonCode::Failure, success(QoS::AtMostOnce)] {
            let (subscribed, said) = granted(code);
            assert!(!subscribed && said.is_err_and(|said| said.contains("rigs/#")));
        }
    }
}
