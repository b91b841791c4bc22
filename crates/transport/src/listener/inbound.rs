//! What comes in from a client: reads as much as is there in one go, with room for it set aside
//! before.
//!
//! All connections of a thread read into one buffer. Each keeps only what it has of a packet that
//! isn't complete, so that those that are idle take next to no memory.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::OwnedSemaphorePermit;

use super::budget::{Budget, Room, Waiting};
use super::clocks::Clocks;
use super::packet::SMALLEST_PUBLISH;

/// Bytes that are read in one go.
const READ: usize = 16 << 10;
/// A packet of up to this size may arrive in part without room being set aside for it. No more than
/// this is read ahead of a CONNECT, either.
pub(crate) const SMALL: usize = 4 << 10;
const SCRATCH: usize = SMALL + READ;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// What became of bytes that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Looked {
    /// The bytes of complete packets.
    pub(crate) consumed: usize,
    /// The length that the first incomplete packet will have; 0 if that isn't known.
    pub(crate) wanted: usize,
}

/// The receiving side of a connection.
pub(crate) struct Inbound {
    reader: OwnedReadHalf,
    budget: Budget,
    /// The packet that isn't complete, as far as it has come.
    rest: Vec<u8>,
    wanted: usize,
    /// There may be complete packets in `rest`.
    unseen: bool,
    part: Option<OwnedSemaphorePermit>,
    waiting_part: Option<Waiting<OwnedSemaphorePermit>>,
    waiting_room: Option<Waiting<Room>>,
    pub(crate) clocks: Clocks,
}

impl Inbound {
    /// `rest` has been read already.
    pub(crate) fn new(
        reader: OwnedReadHalf,
        budget: Budget,
        rest: Vec<u8>,
        clocks: Clocks,
    ) -> Self {
        Self {
            reader,
            budget,
            unseen: !rest.is_empty(),
            rest,
            wanted: 0,
            part: None,
            waiting_part: None,
            waiting_room: None,
            clocks,
        }
    }

    /// We don't read for now. Room that comes meanwhile is for others.
    pub(crate) fn hold(&mut self) {
        self.clocks.pause();
        self.waiting_room = None;
        self.waiting_part = None;
    }

    /// We read, unless room for it is waited for.
    pub(crate) fn read_on(&mut self) {
        if self.waiting_part.is_none() && self.waiting_room.is_none() {
            self.clocks.resume();
        }
    }

    /// Reads once, and has `look` look at what is there; `false` at the end of the stream.
    pub(crate) fn poll_look(
        &mut self,
        context: &mut Context<'_>,
        look: &mut impl FnMut(&[u8], Room) -> Looked,
    ) -> Poll<io::Result<bool>> {
        if self.wanted > SMALL && self.rest.len() < self.wanted {
            let open = ready!(self.poll_large(context))?;
            if !open {
                return Poll::Ready(Ok(false));
            }
            self.unseen = true;
        }
        if self.unseen {
            let messages = if self.wanted > SMALL {
                1
            } else {
                self.rest.len() / SMALLEST_PUBLISH + 1
            };
            let Some(room) = ready!(self.poll_room(context, self.rest.len(), messages)) else {
                return Poll::Ready(Ok(false));
            };
            let rest = std::mem::take(&mut self.rest);
            let looked = look(&rest, room);
            self.keep(&rest, looked);
            return Poll::Ready(Ok(true));
        }
        ready!(self.reader.as_ref().poll_read_ready(context))?;
        let Some(room) = ready!(self.poll_room(context, SCRATCH, SCRATCH / SMALLEST_PUBLISH + 1))
        else {
            return Poll::Ready(Ok(false));
        };
        BUFFER.with_borrow_mut(|buffer| self.poll_small(context, buffer, room, look))
    }

    /// The usual case: many small packets at once.
    fn poll_small(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
        room: Room,
        look: &mut impl FnMut(&[u8], Room) -> Looked,
    ) -> Poll<io::Result<bool>> {
        let Some((front, back)) = buffer.split_at_mut_checked(self.rest.len()) else {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        };
        let mut read = ReadBuf::new(back);
        ready!(Pin::new(&mut self.reader).poll_read(context, &mut read))?;
        let count = read.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(false));
        }
        front.copy_from_slice(&self.rest);
        let all = front.len() + count;
        self.rest.clear();
        if let Some(all) = buffer.get(..all) {
            let looked = look(all, room);
            self.keep(all, looked);
        }
        Poll::Ready(Ok(true))
    }

    /// Reads on until the large packet that has begun is complete; `false` at the end of the stream.
    fn poll_large(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.part.is_none() {
            let (budget, size) = (&self.budget, self.wanted);
            let waiting = self.waiting_part.get_or_insert_with(|| budget.part(size));
            let part = waiting.as_mut().poll(context);
            if part.is_pending() {
                self.clocks.pause();
            }
            let part = ready!(part);
            self.waiting_part = None;
            self.clocks.resume();
            if part.is_none() {
                return Poll::Ready(Ok(false));
            }
            self.part = part;
            self.rest.reserve_exact(self.wanted - self.rest.len());
        }
        while self.rest.len() < self.wanted {
            let missing = self.wanted - self.rest.len();
            let count = BUFFER.with_borrow_mut(|buffer| {
                let most = missing.min(buffer.len());
                let mut read = ReadBuf::new(buffer.get_mut(..most).unwrap_or_default());
                ready!(Pin::new(&mut self.reader).poll_read(context, &mut read))?;
                self.rest.extend_from_slice(read.filled());
                Poll::Ready(io::Result::Ok(read.filled().len()))
            });
            if ready!(count)? == 0 {
                return Poll::Ready(Ok(false));
            }
        }
        Poll::Ready(Ok(true))
    }

    fn poll_room(
        &mut self,
        context: &mut Context<'_>,
        size: usize,
        messages: usize,
    ) -> Poll<Option<Room>> {
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        let waiting = match &mut self.waiting_room {
            Some(waiting) => waiting,
            none => {
                if let Some(room) = self.budget.try_room(size, messages) {
                    self.clocks.resume();
                    return Poll::Ready(Some(room));
                }
                none.insert(self.budget.room(size, messages))
            }
        };
        let room = waiting.as_mut().poll(context);
        if room.is_pending() {
            self.clocks.pause();
        }
        let room = ready!(room);
        self.waiting_room = None;
        self.clocks.resume();
        Poll::Ready(room)
    }

    fn keep(&mut self, all: &[u8], looked: Looked) {
        let rest = all.get(looked.consumed..).unwrap_or_default();
        self.clocks.heard(looked.consumed > 0, !rest.is_empty());
        self.unseen = false;
        self.wanted = looked.wanted;
        if looked.consumed > 0 {
            self.part = None;
        }
        if rest.is_empty() {
            self.rest = Vec::new();
        } else {
            self.rest.extend_from_slice(rest);
        }
    }

    /// Gives up all that is kept: nothing will be looked at any more.
    pub(crate) fn finish(&mut self) {
        self.hold();
        self.part = None;
        self.rest = Vec::new();
    }

    /// Reads and forgets what still comes; ready at the end of the stream.
    pub(crate) fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        BUFFER.with_borrow_mut(|buffer| {
            loop {
                let mut read = ReadBuf::new(buffer);
                let result = ready!(Pin::new(&mut self.reader).poll_read(context, &mut read));
                if result.is_err() || read.filled().is_empty() {
                    return Poll::Ready(());
                }
            }
        })
    }
}
