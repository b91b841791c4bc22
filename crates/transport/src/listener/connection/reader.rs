//! The receiving side of a connection.
//!
//! Memory for messages is reserved before their bytes are read, so that without free memory they stay
//! in the socket. Between reads a connection keeps only the incomplete packet: an idle one takes next
//! to no memory.

use std::io;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::yield_now;

use super::keep_alive::KeepAlive;
use super::oversize::{OversizePublish, OversizeReader, most_held};
use super::progress::Progress;
use crate::listener::codec::{Header, PacketBuffer, SMALLEST_PUBLISH};
use crate::listener::limits::{MemoryLimits, Reservation};
use crate::listener::reason::{ConnectionEnd, DisconnectReason};
use crate::listener::stream::{Incoming, read_arrived};

/// Bytes that are read at once.
const READ_SIZE: usize = 16 << 10;
/// And from a client with a limit on messages a second: about so many are taken beyond the limit.
const SLOW_READ_SIZE: usize = 1 << 10;
/// A packet of up to this size may be incomplete without reserving memory.
const SMALL_PACKET: usize = 4 << 10;

/// What was read.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// Bytes, which are in the buffer, and the memory that is reserved for the messages in them.
    Packets(Reservation),
    /// An oversize PUBLISH, and the memory that is reserved for what is kept of it.
    Oversize(OversizePublish, Reservation),
}

/// Reads packets of a client.
pub(crate) struct PacketReader<R> {
    socket: R,
    read_size: usize,
    limits: MemoryLimits,
    keep_alive: KeepAlive,
    /// What was read; after [`Self::finish`] the incomplete packet.
    pub(crate) buffer: PacketBuffer,
    /// The buffer holds bytes that weren't returned by a `read`: they arrived with the CONNECT, or
    /// behind an oversize packet.
    read_ahead: bool,
}

impl<R: Incoming> PacketReader<R> {
    /// A reader that begins with the bytes in `buffer`.
    pub(crate) fn new(
        socket: R,
        limits: MemoryLimits,
        keep_alive: KeepAlive,
        buffer: PacketBuffer,
        is_rate_limited: bool,
    ) -> Self {
        let read_size = if is_rate_limited {
            SLOW_READ_SIZE
        } else {
            READ_SIZE
        };
        Self {
            socket,
            read_size,
            limits,
            keep_alive,
            read_ahead: !buffer.bytes().is_empty(),
            buffer,
        }
    }

    /// Waits for bytes, and reads them into the buffer; `None` at the end of the stream.
    pub(crate) async fn read(&mut self) -> Result<Option<Arrived>, ConnectionEnd> {
        if std::mem::take(&mut self.read_ahead) {
            let size = self.buffer.bytes().len();
            let reservation = self.reserve(size, size / SMALLEST_PUBLISH + 1).await?;
            return Ok(Some(Arrived::Packets(reservation)));
        }
        let reservation = match self.buffer.next_header()? {
            Some(header) if self.buffer.is_oversize(header) => {
                return self.read_oversize(header).await;
            }
            Some(header) if header.length > SMALL_PACKET => self.read_large(header.length).await?,
            _ => self.read_small().await?,
        };
        Ok(reservation.map(Arrived::Packets))
    }

    /// Reads what has arrived: usually many small packets.
    async fn read_small(&mut self) -> Result<Option<Reservation>, ConnectionEnd> {
        loop {
            self.keep_alive.limit(self.socket.readable()).await?;
            let most = SMALL_PACKET + self.read_size;
            let count = most / SMALLEST_PUBLISH + 1;
            let reservation = self.reserve(most, count).await?;
            match self.read_arrived().await? {
                Some(0) => return Ok(None),
                Some(_) => return Ok(Some(reservation)),
                // Either the socket isn't readable after all, or it is the turn of other tasks.
                None => {
                    drop(reservation);
                    yield_now().await;
                }
            }
        }
    }

    /// Reads the rest of a packet of `length` bytes, and no more.
    async fn read_large(&mut self, length: usize) -> Result<Option<Reservation>, ConnectionEnd> {
        let _partial = self.reserve_partial(length).await?;
        let mut packet = BytesMut::with_capacity(length);
        packet.extend_from_slice(self.buffer.remaining());
        while packet.len() < length {
            let missing = length - packet.len();
            let mut space = (&mut packet).limit(missing);
            let read = self.socket.read_buf(&mut space);
            if self.keep_alive.limit(read).await? == 0 {
                return Ok(None);
            }
        }
        self.buffer.set(packet.freeze());
        self.reserve(length, 1).await.map(Some)
    }

    /// Reads the rest of an oversize PUBLISH, and no more. Time limits of its own apply: it may take long,
    /// and the client can't send anything else meanwhile.
    async fn read_oversize(&mut self, header: Header) -> Result<Option<Arrived>, ConnectionEnd> {
        let _partial = self.reserve_partial(most_held(READ_SIZE)).await?;
        let mut packet = OversizeReader::new(header, self.buffer.version());
        let began = self.buffer.take(header.length);
        packet.push(began.get(header.body_at..).unwrap_or_default())?;
        let mut progress = Progress::new();
        let mut piece = vec![0; READ_SIZE];
        while packet.left() > 0 {
            let size = packet.left().min(READ_SIZE);
            let space = piece.get_mut(..size).unwrap_or_default();
            let count = progress.limit(self.socket.read(space)).await?;
            if count == 0 {
                return Ok(None);
            }
            packet.push(piece.get(..count).unwrap_or_default())?;
        }
        self.read_ahead = !self.buffer.remaining().is_empty();
        let oversize = packet.finish()?;
        let reservation = self.reserve(oversize.body.len(), 1).await?;
        Ok(Some(Arrived::Oversize(oversize, reservation)))
    }

    /// The packets in the buffer are decoded; `completed` if there were any.
    pub(crate) fn finish(&mut self, completed: bool) {
        self.buffer.compact();
        let incomplete = !self.buffer.bytes().is_empty();
        self.keep_alive.received(completed, incomplete);
    }

    /// Waits for something else than the client: time limits for reading don't count the wait.
    pub(crate) async fn pause<T>(&mut self, wait: impl Future<Output = T>) -> T {
        self.keep_alive.pause(wait).await
    }

    /// The socket, for the end of the connection.
    pub(crate) fn into_socket(self) -> R {
        self.socket
    }

    async fn reserve_partial(
        &mut self,
        size: usize,
    ) -> Result<OwnedSemaphorePermit, ConnectionEnd> {
        let partial = self.limits.reserve_partial_packet(size);
        let partial = self.keep_alive.pause(partial).await;
        Ok(partial.map_err(|_| DisconnectReason::ShuttingDown)?)
    }

    async fn reserve(&mut self, size: usize, count: usize) -> Result<Reservation, ConnectionEnd> {
        if let Some(reservation) = self.limits.try_reserve(size, count) {
            return Ok(reservation);
        }
        let reservation = self.limits.reserve(size, count);
        let reservation = self.keep_alive.pause(reservation).await;
        Ok(reservation.map_err(|_| DisconnectReason::ShuttingDown)?)
    }

    /// Appends what has arrived to the buffer, without waiting for more. `None` if nothing has, or if
    /// the task has run for so long that it has to yield.
    async fn read_arrived(&mut self) -> io::Result<Option<usize>> {
        let Self {
            socket,
            read_size,
            buffer,
            ..
        } = self;
        read_arrived::<READ_SIZE>(socket, *read_size, &mut |read| buffer.append(read)).await
    }
}
