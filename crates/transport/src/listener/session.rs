//! The task of one connection.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use common::faults::{self, Point};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::burst::{Reading, Stop};
use super::clocks::Clocks;
use super::fault::Fault;
use super::handshake::{self, Outcome};
use super::inbound::{Inbound, Looked};
use super::outbound::Outbound;
use super::registry::{Order, Registered};
use super::reply;
use super::shared::Shared;

/// Time to send the last packets in, and for the client to hang up: closed by us with input unread,
/// the connection would be reset, and the client might not see them.
const FAREWELL: Duration = Duration::from_millis(700);

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client wants it.
    Gone,
    /// We do.
    Fault(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Serves a connection from its first byte to its last.
pub(crate) async fn run(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    connection: u64,
    stop: CancellationToken,
) {
    let (reader, writer) = stream.into_split();
    let mut outbound = Outbound::new(writer);
    let outcome = tokio::select! {
        () = stop.cancelled() => return,
        outcome = handshake::receive(&reader, &shared) => outcome,
    };
    let inbound = |rest, keep_alive| {
        Inbound::new(reader, shared.budget.clone(), rest, Clocks::new(keep_alive))
    };
    match outcome {
        Outcome::Gone => {}
        Outcome::Fault(fault) => shared.ended(&fault, "", peer),
        Outcome::Refused(refused) => {
            shared.refused(refused.refusal, &refused.client_id, peer);
            let most = refused.maximum_packet;
            reply::refusal(outbound.buffer(), refused.version, refused.refusal, most);
            farewell(&mut inbound(Vec::new(), 0), &mut outbound).await;
        }
        Outcome::Client(mut connect, rest) => {
            handshake::accept(&mut connect, shared.max_packet, outbound.buffer());
            let (registered, orders) = shared.registry.add(connection, &connect.client_id);
            let inbound = inbound(rest, connect.keep_alive);
            let reading = Reading {
                connection,
                version: connect.version,
                max_packet: shared.max_packet,
            };
            let maximum_packet = connect.properties.maximum_packet;
            drop(connect);
            let session = Session {
                shared,
                peer,
                registered,
                reading,
                maximum_packet,
                orders,
                inbound,
                outbound,
                acknowledging: false,
            };
            session.run().await;
        }
    }
}

struct Session {
    shared: Arc<Shared>,
    peer: SocketAddr,
    registered: Registered,
    reading: Reading,
    /// The largest packet that the client takes.
    maximum_packet: Option<u32>,
    orders: mpsc::UnboundedReceiver<Order>,
    inbound: Inbound,
    outbound: Outbound,
    /// There are acknowledgements in what is to be sent.
    acknowledging: bool,
}

impl Session {
    async fn run(mut self) {
        let mut timer = pin!(sleep_until(Instant::now()));
        let end = loop {
            if let Err(end) = poll_fn(|context| self.poll_step(context, timer.as_mut())).await {
                break end;
            }
        };
        if let End::Fault(fault) = end {
            self.shared
                .ended(&fault, &self.registered.client, self.peer);
            let (version, most) = (self.reading.version, self.maximum_packet);
            reply::disconnect(self.outbound.buffer(), version, &fault, most);
            // A new connection of the same client needn't wait for the end of this one.
            drop(self.registered);
            farewell(&mut self.inbound, &mut self.outbound).await;
        }
    }

    /// One step: what is to be acknowledged, then what is to be sent, then what has come.
    fn poll_step(
        &mut self,
        context: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<Result<(), End>> {
        while let Poll::Ready(Some(order)) = self.orders.poll_recv(context) {
            match order {
                Order::Acknowledge(packet_ids) => {
                    if !self.acknowledging {
                        faults::reach(Point::BeforeAcknowledgement);
                        self.acknowledging = true;
                    }
                    reply::acknowledgements(self.outbound.buffer(), &packet_ids);
                }
                Order::End(fault) => return Poll::Ready(Err(fault.into())),
            }
        }
        if !self.outbound.is_empty()
            && let Poll::Ready(sent) = self.outbound.poll_flush(context)
        {
            sent?;
            if std::mem::take(&mut self.acknowledging) {
                faults::reach(Point::AfterAcknowledgement);
            }
        }
        if self.outbound.is_full() {
            self.inbound.hold();
        } else if let Poll::Ready(looked) = self.poll_look(context) {
            return Poll::Ready(looked);
        }
        let due = [self.outbound.due(), self.inbound.clocks.due()];
        if let Some(due) = due.into_iter().flatten().min() {
            // Left alone while it is early enough, so that it isn't set anew with each packet.
            if timer.is_elapsed() || timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            ready!(timer.poll(context));
            self.outbound.check()?;
            self.inbound.clocks.check()?;
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn poll_look(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Self {
            inbound,
            outbound,
            shared,
            reading,
            ..
        } = self;
        inbound.read_on();
        let (mut stop, mut subscribe) = (None, false);
        let open = inbound.poll_look(context, &mut |bytes, room| -> Looked {
            let found = reading.look(bytes, room, outbound.buffer());
            if let Some(burst) = found.burst {
                // Refused only when the listener is gone, and this connection about to be.
                let _ = shared.bursts.send(burst);
            }
            (stop, subscribe) = (found.stop, found.subscribe);
            found.looked
        });
        let open = ready!(open)?;
        if subscribe {
            shared.subscribed(&self.registered.client, self.peer);
        }
        Poll::Ready(match stop {
            Some(Stop::Fault(fault)) => Err(fault.into()),
            None if open => Ok(()),
            Some(Stop::Disconnect) | None => Err(End::Gone),
        })
    }
}

/// Sends what is still to be sent.
async fn farewell(inbound: &mut Inbound, outbound: &mut Outbound) {
    inbound.finish();
    let all = async {
        poll_fn(|context| outbound.poll_flush(context)).await?;
        poll_fn(|context| outbound.poll_shutdown(context)).await?;
        poll_fn(|context| inbound.poll_discard(context)).await;
        io::Result::Ok(())
    };
    let _: Result<io::Result<()>, _> = timeout(FAREWELL, all).await;
}
