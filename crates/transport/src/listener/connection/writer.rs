//! The sending side of a connection.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use common::faults::{self, Point};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::qos2::Unreleased;
use crate::listener::codec::{Version, encode};
use crate::listener::reason::{ConnectionEnd, DisconnectReason};
use crate::listener::registry::Command;
use crate::source::Ticket;

/// A client that accepts no bytes for this long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// With more unsent bytes than this, the client isn't read from: it would only cause more answers.
const MAX_UNSENT: usize = 64 << 10;

/// Writes acknowledgements and answers to a client.
#[derive(Debug)]
pub(crate) struct PacketWriter<W> {
    socket: W,
    commands: mpsc::UnboundedReceiver<Command>,
    unsent: BytesMut,
    /// The socket may hold bytes that it hasn't sent.
    unflushed: bool,
    version: Version,
    unreleased: Unreleased,
    /// Since when the client has accepted no bytes.
    stalled: Option<Instant>,
    /// There are acknowledgements in `unsent`.
    acknowledging: bool,
    /// The client must not be read from, because its messages aren't taken.
    paused: bool,
}

impl<W: AsyncWrite + Unpin> PacketWriter<W> {
    /// A writer that begins with the packets in `unsent`.
    pub(crate) const fn new(
        socket: W,
        commands: mpsc::UnboundedReceiver<Command>,
        unsent: BytesMut,
        version: Version,
    ) -> Self {
        Self {
            socket,
            commands,
            unsent,
            unflushed: false,
            version,
            unreleased: Unreleased::new(),
            stalled: None,
            acknowledging: false,
            paused: false,
        }
    }

    /// Where answers are encoded.
    pub(crate) const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.unsent
    }

    /// The messages of QoS 2 that aren't released, and where answers are encoded.
    pub(crate) const fn state(&mut self) -> (&mut Unreleased, &mut BytesMut) {
        (&mut self.unreleased, &mut self.unsent)
    }

    /// Whether the client must not be read from: it is paused, or too much is unsent.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.paused || self.unsent.len() > MAX_UNSENT
    }

    /// Writes until the client may be read from. Cancel-safe.
    pub(crate) async fn drain_backlog(&mut self) -> Result<(), ConnectionEnd> {
        while self.is_backlogged() {
            self.step().await?;
        }
        Ok(())
    }

    /// Writes what is unsent, and acknowledgements as they are commanded, until the connection has to
    /// end. Cancel-safe.
    pub(crate) async fn run(&mut self) -> Result<Infallible, ConnectionEnd> {
        loop {
            self.step().await?;
        }
    }

    /// Executes a command; if there is none, writes once.
    async fn step(&mut self) -> Result<(), ConnectionEnd> {
        if self.unsent.is_empty() && !self.unflushed {
            let command = self.commands.recv().await;
            return self.execute(command);
        }
        let stalled = *self.stalled.get_or_insert_with(Instant::now);
        tokio::select! {
            biased;
            command = self.commands.recv() => self.execute(command),
            sent = timeout_at(stalled + WRITE_TIMEOUT, send(&mut self.socket, &self.unsent)) => {
                let sent = sent.map_err(|_| DisconnectReason::NotReading(WRITE_TIMEOUT))??;
                if let Some(count) = sent {
                    return self.written(count);
                }
                (self.unflushed, self.stalled) = (false, None);
                Ok(())
            }
        }
    }

    fn execute(&mut self, command: Option<Command>) -> Result<(), ConnectionEnd> {
        match command {
            Some(Command::Acknowledge(tickets)) => {
                if !self.acknowledging {
                    faults::reach(Point::BeforeAcknowledgement);
                    self.acknowledging = true;
                }
                for ticket in tickets {
                    self.acknowledge(&ticket);
                }
                Ok(())
            }
            Some(Command::Pause) => {
                self.paused = true;
                Ok(())
            }
            Some(Command::Resume) => {
                self.paused = false;
                Ok(())
            }
            Some(Command::Disconnect(reason)) => Err(reason.into()),
            // The registry holds the sender as long as the connection is registered.
            None => Err(DisconnectReason::ShuttingDown.into()),
        }
    }

    fn acknowledge(&mut self, ticket: &Ticket) {
        if ticket.exactly_once {
            self.unreleased.mark_safe(ticket.packet_id);
            encode::publish_received(&mut self.unsent, ticket.packet_id);
        } else if ticket.refused && self.version == Version::V5 {
            encode::publish_refused(&mut self.unsent, ticket.packet_id);
        } else {
            encode::publish_ack(&mut self.unsent, ticket.packet_id);
        }
    }

    fn written(&mut self, count: usize) -> Result<(), ConnectionEnd> {
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        self.unsent.advance(count);
        (self.unflushed, self.stalled) = (true, None);
        if self.unsent.is_empty() {
            // An idle connection keeps no buffer.
            self.unsent = BytesMut::new();
            if std::mem::take(&mut self.acknowledging) {
                faults::reach(Point::AfterAcknowledgement);
            }
        }
        Ok(())
    }

    /// The socket, and what is unsent, for the end of the connection.
    pub(crate) fn into_parts(self) -> (W, BytesMut) {
        (self.socket, self.unsent)
    }
}

/// Writes once and returns the number of bytes; `None` if there are none, and what was written is sent.
async fn send(socket: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<Option<usize>> {
    if bytes.is_empty() {
        socket.flush().await?;
        return Ok(None);
    }
    socket.write(bytes).await.map(Some)
}
