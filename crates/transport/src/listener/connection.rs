//! The task of one connection: handshake, then read, decode and answer until it ends.

mod batch;
mod keep_alive;
mod oversize;
mod progress;
mod qos2;
mod reader;
mod writer;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

pub(crate) use self::batch::{BatchBuilder, MessageBatch};
use self::keep_alive::KeepAlive;
use self::oversize::OversizePublish;
pub(crate) use self::qos2::Unreleased;
use self::reader::{Arrived, PacketReader};
use self::writer::PacketWriter;
use super::Shared;
use super::acl::Permissions;
use super::admission::Slot;
use super::codec::{Packet, PacketBuffer, encode};
use super::endpoint::{Endpoint, Opened};
use super::handshake::{self, CONNECT_TIMEOUT, HandshakeError, RefusedClient};
use super::limits::Reservation;
use super::mismatch::Mismatch;
use super::rate::ClientRate;
use super::reason::{ConnectRefusal, ConnectionEnd, DisconnectReason};
use super::registry::{Registration, UserIsFull};
use super::stream::{Buffered, Incoming, read_arrived};
use crate::source::Sender;

/// Time to send the last packets, and for the client to close the connection: closed by us with
/// unread input, it would be reset, and the client might not receive them.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(700);
/// Bytes of unread input that are discarded at once.
const DISCARD_SIZE: usize = 16 << 10;

/// A connection that was admitted.
pub(crate) struct Incomplete {
    pub(crate) shared: Arc<Shared>,
    /// What is spoken at the address that it has come to.
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) peer: SocketAddr,
    pub(crate) slot: Slot,
    pub(crate) stop: CancellationToken,
}

impl Incomplete {
    /// Serves the connection from its first byte to its last.
    pub(crate) async fn run(mut self, stream: TcpStream) {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        if self.endpoint.is_plain() {
            let (read_half, write_half) = stream.into_split();
            return self.serve(read_half, write_half, None, deadline).await;
        }
        // In memory of its own: connections without handshakes below MQTT needn't take it.
        let rest = Box::pin(async move {
            let opened = tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.slot.evicted() => return,
                opened = timeout_at(deadline, self.endpoint.open(stream)) => opened,
            };
            let opened = opened.map_err(|_| DisconnectReason::Slow(CONNECT_TIMEOUT).into());
            match opened.and_then(|opened| opened) {
                Ok(Opened { stream, user }) => {
                    let (read_half, write_half) = tokio::io::split(stream);
                    let read_half = Buffered::new(read_half);
                    self.serve(read_half, write_half, user, deadline).await;
                }
                Err(error) => self.report(error),
            }
        });
        rest.await;
    }

    /// Serves the connection from the first byte of its CONNECT to its last.
    async fn serve<R: Incoming, W: AsyncWrite + Unpin>(
        mut self,
        mut read_half: R,
        write_half: W,
        user: Option<String>,
        deadline: Instant,
    ) {
        let accepted = tokio::select! {
            () = self.stop.cancelled() => return,
            () = self.slot.evicted() => return,
            accepted = handshake::accept_client(&mut read_half, &self.shared, user, deadline) => accepted,
        };
        let client = match accepted {
            Ok(client) => client,
            Err(HandshakeError::Refused(client)) => {
                return self.refuse(read_half, write_half, &client).await;
            }
            Err(error) => return self.report(error),
        };
        if !self.slot.log_in() {
            return;
        }
        let Self {
            shared, peer, slot, ..
        } = &self;
        let registered = shared.registry.register(
            slot.number(),
            &client.connect.client_id,
            client.user.as_deref(),
            shared.max_of_user,
        );
        let (registration, commands) = match registered {
            Ok(registered) => registered,
            Err(UserIsFull(max)) => {
                let client = RefusedClient {
                    version: client.connect.version,
                    refusal: ConnectRefusal::OfUser(max),
                    maximum_packet: client.connect.properties.maximum_packet,
                    client_id: client.connect.client_id,
                };
                return self.refuse(read_half, write_half, &client).await;
            }
        };
        let mut unsent = BytesMut::new();
        handshake::encode_connack(&client, &mut unsent);
        let connect = client.connect;
        let buffer = client.read_ahead.freeze();
        let buffer = PacketBuffer::new(connect.version, shared.max_packet, buffer);
        let keep_alive = KeepAlive::new(connect.keep_alive);
        let rate = shared.rates.of(client.user.as_deref(), peer.ip());
        let limits = shared.limits.clone();
        let sender = Sender {
            user: client.user,
            client_id: connect.client_id,
        };
        let connection = Connection {
            reader: PacketReader::new(read_half, limits, keep_alive, buffer, rate.is_some()),
            writer: PacketWriter::new(write_half, commands, unsent, connect.version),
            permissions: Permissions::new(shared.authenticator.acl(), sender),
            rate,
            shared: shared.clone(),
            peer: *peer,
            number: slot.number(),
            registration,
            maximum_packet: connect.properties.maximum_packet,
        };
        connection.run().await;
    }

    /// Tells a client why it isn't accepted.
    async fn refuse(
        self,
        read_half: impl Incoming,
        write_half: impl AsyncWrite + Unpin,
        client: &RefusedClient,
    ) {
        let Self { shared, peer, .. } = &self;
        let (refusal, maximum_packet) = (client.refusal, client.maximum_packet);
        shared
            .reporter
            .connect_refused(refusal, &client.client_id, *peer);
        let mut unsent = BytesMut::new();
        encode::connect_refused(&mut unsent, client.version, refusal, maximum_packet);
        close(read_half, write_half, unsent).await;
    }

    /// Reports why a client isn't accepted that isn't told by MQTT.
    fn report(&self, error: HandshakeError) {
        let reason = match error {
            HandshakeError::Closed | HandshakeError::Refused(_) => return,
            HandshakeError::Disconnect(reason) => reason,
            HandshakeError::NotUpgraded(refused) => DisconnectReason::NotUpgraded(refused.why),
            HandshakeError::Mismatch(speaks) => {
                let mismatch = Mismatch {
                    speaks,
                    ports: self.shared.ports,
                    at_tls: self.endpoint.tls.is_some(),
                };
                DisconnectReason::WrongProtocol(mismatch.to_string())
            }
        };
        self.shared.reporter.disconnected(&reason, "", self.peer);
    }
}

/// A connection whose client was accepted.
struct Connection<R, W> {
    shared: Arc<Shared>,
    peer: SocketAddr,
    number: u64,
    registration: Registration,
    permissions: Permissions,
    /// The largest packet that the client accepts.
    maximum_packet: Option<u32>,
    /// `None`: without limits on messages a second.
    rate: Option<ClientRate>,
    reader: PacketReader<R>,
    writer: PacketWriter<W>,
}

impl<R: Incoming, W: AsyncWrite + Unpin> Connection<R, W> {
    /// Serves the client, and ends the connection.
    async fn run(mut self) {
        let reason = match self.serve().await {
            Ok(never) => match never {},
            Err(ConnectionEnd::ByClient) => return,
            Err(ConnectionEnd::ByListener(reason)) => reason,
        };
        let (read_half, write_half, unsent) = self.disconnect(&reason);
        close(read_half, write_half, unsent).await;
    }

    /// Reads and handles packets, and writes answers and acknowledgements, until the connection ends.
    async fn serve(&mut self) -> Result<Infallible, ConnectionEnd> {
        loop {
            if self.writer.is_backlogged() {
                self.reader.pause(self.writer.drain_backlog()).await?;
            }
            self.wait_for_rate().await?;
            // Only the writer is cancelled, and created again: what it does is cancel-safe.
            let read = tokio::select! {
                biased;
                end = self.writer.run() => match end? {},
                read = self.reader.read() => read?,
            };
            match read.ok_or(ConnectionEnd::ByClient)? {
                Arrived::Packets(reservation) => self.handle_packets(reservation)?,
                Arrived::Oversize(publish, reservation) => {
                    self.hand_over_oversize(&publish, reservation)?;
                }
            }
        }
    }

    /// Waits while the client has sent more messages than it may.
    async fn wait_for_rate(&mut self) -> Result<(), ConnectionEnd> {
        while let Some((wait, reached)) = self.rate.as_ref().and_then(ClientRate::wait) {
            let client_id = &self.registration.client_id;
            self.shared.reporter.delayed(client_id, self.peer, reached);
            let written = self.writer.run();
            let written = self.reader.pause(timeout(wait, written)).await;
            if let Ok(end) = written {
                match end? {}
            }
        }
        Ok(())
    }

    /// Reports the reason, and adds a DISCONNECT to the unsent packets. Releases everything but the
    /// socket and these packets: a new connection of the same client doesn't wait for the end of this.
    fn disconnect(mut self, reason: &DisconnectReason) -> (R, W, BytesMut) {
        let client_id = &self.registration.client_id;
        self.shared
            .reporter
            .disconnected(reason, client_id, self.peer);
        let version = self.reader.buffer.version();
        let buffer = self.writer.buffer();
        encode::disconnect(buffer, version, reason, self.maximum_packet);
        let (write_half, unsent) = self.writer.into_parts();
        (self.reader.into_socket(), write_half, unsent)
    }

    /// Hands over the beginning of an oversize message.
    fn hand_over_oversize(
        &mut self,
        oversize: &OversizePublish,
        reservation: Reservation,
    ) -> Result<(), ConnectionEnd> {
        let mut messages = BatchBuilder::new(self.number, oversize.body.clone());
        let publish = oversize.decode(self.reader.buffer.version())?;
        let (unreleased, answers) = self.writer.state();
        if unreleased.accept(&publish, answers) {
            self.permissions.refresh();
            let refused = self.permissions.refused(publish.topic);
            messages.push_truncated(&publish, refused, Some(oversize.whole));
        }
        self.send(messages, reservation);
        self.reader.finish(true);
        Ok(())
    }

    fn send(&self, messages: BatchBuilder, reservation: Reservation) {
        if let Some(rate) = &self.rate {
            rate.count(messages.len());
        }
        if let Some(batch) = messages.finish(reservation) {
            // Fails only when the listener is closed, which ends this connection.
            let _ = self.shared.batches.send(batch);
        }
    }

    /// Hands over the messages that were read, and answers the other packets.
    fn handle_packets(&mut self, reservation: Reservation) -> Result<(), ConnectionEnd> {
        let (unreleased, answers) = self.writer.state();
        self.permissions.refresh();
        let handled = handle_packets(
            self.number,
            &mut self.reader.buffer,
            &self.permissions,
            unreleased,
            answers,
        );
        self.send(handled.messages, reservation);
        if handled.subscription_refused {
            let client_id = &self.registration.client_id;
            self.shared
                .reporter
                .subscription_refused(client_id, self.peer);
        }
        self.reader.finish(handled.completed);
        handled.end.map_or(Ok(()), Err)
    }
}

/// What the packets in a buffer have led to.
#[derive(Debug)]
pub(crate) struct Handled {
    pub(crate) messages: BatchBuilder,
    /// There was at least one complete packet.
    pub(crate) completed: bool,
    pub(crate) subscription_refused: bool,
    /// Why the connection ends. The messages before are valid.
    pub(crate) end: Option<ConnectionEnd>,
}

/// Decodes the complete packets in the buffer, and encodes answers. Stops at an error and at a
/// DISCONNECT.
pub(crate) fn handle_packets(
    connection: u64,
    buffer: &mut PacketBuffer,
    permissions: &Permissions,
    unreleased: &mut Unreleased,
    answers: &mut BytesMut,
) -> Handled {
    let version = buffer.version();
    let mut handled = Handled {
        messages: BatchBuilder::new(connection, buffer.bytes().clone()),
        completed: false,
        subscription_refused: false,
        end: None,
    };
    while handled.end.is_none() {
        let packet = match buffer.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => {
                handled.end = Some(error.into());
                break;
            }
        };
        handled.completed = true;
        match packet {
            Packet::Publish(publish) => {
                if unreleased.accept(&publish, answers) {
                    let refused = permissions.refused(publish.topic);
                    handled.messages.push(&publish, refused);
                }
            }
            Packet::PubRel(id) => match unreleased.release(id) {
                Ok(()) => encode::publish_complete(answers, id),
                Err(error) => handled.end = Some(error.into()),
            },
            Packet::PingReq => encode::ping_response(answers),
            Packet::Subscribe(id, filters) => {
                handled.subscription_refused = true;
                encode::subscribe_refused(answers, version, id, filters);
            }
            Packet::Unsubscribe(id, filters) => {
                encode::unsubscribe_ack(answers, version, id, filters);
            }
            Packet::Disconnect => handled.end = Some(ConnectionEnd::ByClient),
        }
    }
    handled
}

/// Sends the last packets, and waits for the client to close the connection.
async fn close(
    mut read_half: impl Incoming,
    mut write_half: impl AsyncWrite + Unpin,
    mut unsent: BytesMut,
) {
    let close = async {
        write_half.write_all_buf(&mut unsent).await?;
        write_half.shutdown().await?;
        // Reads and drops what has arrived, to the end of the stream.
        loop {
            match read_arrived::<DISCARD_SIZE>(&mut read_half, DISCARD_SIZE, &mut |_| {}).await? {
                Some(0) => return io::Result::Ok(()),
                Some(_) => consume_budget().await,
                None => {
                    yield_now().await;
                    read_half.readable().await?;
                }
            }
        }
    };
    let _: Result<io::Result<()>, _> = timeout(CLOSE_TIMEOUT, close).await;
}
