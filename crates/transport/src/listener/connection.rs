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
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::coop::consume_budget;
use tokio::time::timeout;
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
use super::handshake::{self, HandshakeError};
use super::limits::Reservation;
use super::reason::{ConnectionEnd, DisconnectReason};
use super::registry::Registration;
use crate::source::Sender;

/// Time to send the last packets, and for the client to close the connection: closed by us with
/// unread input, it would be reset, and the client might not receive them.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(700);
/// Bytes of unread input that are discarded at once.
const DISCARD_SIZE: usize = 16 << 10;

/// Serves a connection from its first byte to its last.
pub(crate) async fn run(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    mut slot: Slot,
    stop: CancellationToken,
) {
    let (read_half, write_half) = stream.into_split();
    let mut unsent = BytesMut::new();
    let accepted = tokio::select! {
        () = stop.cancelled() => return,
        () = slot.evicted() => return,
        accepted = handshake::accept_client(&read_half, &shared) => accepted,
    };
    let client = match accepted {
        Ok(client) => client,
        Err(HandshakeError::Closed) => return,
        Err(HandshakeError::Disconnect(reason)) => {
            return shared.reporter.disconnected(&reason, "", peer);
        }
        Err(HandshakeError::Refused(client)) => {
            let (refusal, maximum_packet) = (client.refusal, client.maximum_packet);
            shared
                .reporter
                .connect_refused(refusal, &client.client_id, peer);
            encode::connect_refused(&mut unsent, client.version, refusal, maximum_packet);
            return close(read_half, write_half, unsent).await;
        }
    };
    if !slot.log_in() {
        return;
    }
    handshake::encode_connack(&client, &mut unsent);
    let sender = Sender {
        user: client.user,
        client_id: client.connect.client_id.clone(),
    };
    let permissions = Permissions::new(shared.authenticator.acl(), sender);
    let connect = client.connect;
    let (registration, commands) = shared.registry.register(slot.number(), &connect.client_id);
    let buffer = PacketBuffer::new(
        connect.version,
        shared.max_packet,
        client.read_ahead.freeze(),
    );
    let keep_alive = KeepAlive::new(connect.keep_alive);
    let mut connection = Connection {
        reader: PacketReader::new(read_half, shared.limits.clone(), keep_alive, buffer),
        writer: PacketWriter::new(write_half, commands, unsent, connect.version),
        shared,
        peer,
        number: slot.number(),
        registration,
        permissions,
        maximum_packet: connect.properties.maximum_packet,
    };
    drop(connect);
    let reason = match connection.serve().await {
        Ok(never) => match never {},
        Err(ConnectionEnd::ByClient) => return,
        Err(ConnectionEnd::ByListener(reason)) => reason,
    };
    let (read_half, write_half, unsent) = connection.disconnect(&reason);
    close(read_half, write_half, unsent).await;
}

/// A connection whose client was accepted.
struct Connection {
    shared: Arc<Shared>,
    peer: SocketAddr,
    number: u64,
    registration: Registration,
    permissions: Permissions,
    /// The largest packet that the client accepts.
    maximum_packet: Option<u32>,
    reader: PacketReader,
    writer: PacketWriter,
}

impl Connection {
    /// Reads and handles packets, and writes answers and acknowledgements, until the connection ends.
    async fn serve(&mut self) -> Result<Infallible, ConnectionEnd> {
        loop {
            if self.writer.is_backlogged() {
                self.reader.pause(self.writer.drain_backlog()).await?;
            }
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

    /// Reports the reason, and adds a DISCONNECT to the unsent packets. Releases everything but the
    /// socket and these packets: a new connection of the same client doesn't wait for the end of this.
    fn disconnect(
        mut self,
        reason: &DisconnectReason,
    ) -> (OwnedReadHalf, OwnedWriteHalf, BytesMut) {
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
async fn close(read_half: OwnedReadHalf, mut write_half: OwnedWriteHalf, mut unsent: BytesMut) {
    let close = async {
        write_half.write_all_buf(&mut unsent).await?;
        write_half.shutdown().await?;
        while discard_arrived(&read_half)? {
            consume_budget().await;
            read_half.readable().await?;
        }
        io::Result::Ok(())
    };
    let _: Result<io::Result<()>, _> = timeout(CLOSE_TIMEOUT, close).await;
}

/// Reads and drops what has arrived; `false` at the end of the stream.
fn discard_arrived(read_half: &OwnedReadHalf) -> io::Result<bool> {
    match read_half.try_read(&mut [0; DISCARD_SIZE]) {
        Ok(count) => Ok(count > 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}
