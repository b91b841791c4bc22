//! MQTT over WebSocket (RFC 6455): a stream of bytes in binary frames.
//!
//! The bytes of a frame are passed on as they arrive, so that a frame takes no memory, however long it is, and
//! the limits on packets and on memory hold as for any other connection.

mod origin;
mod upgrade;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

pub(crate) use self::origin::Origins;
pub(crate) use self::upgrade::{Refused, upgrade};
use super::reason::DisconnectReason;

/// The longest payload of a control frame.
const MAX_CONTROL: u64 = 125;
/// The longest frame that is sent.
const MAX_SENT: usize = 16 << 10;
/// With more unsent bytes than this, nothing is read: it would only cause more answers.
const MAX_UNSENT: usize = 32 << 10;
/// Bytes that are read at once.
const READ_SIZE: usize = 16 << 10;

/// A frame of data whose payload is being read.
#[derive(Debug, Clone, Copy)]
struct DataFrame {
    /// Bytes of its payload that weren't read.
    left: u64,
    mask: [u8; 4],
    /// Place in the mask of the next byte.
    at: usize,
}

/// The stream of bytes in the frames of another one.
#[derive(Debug)]
pub(crate) struct WebSocket<S> {
    stream: S,
    /// Bytes of frames that weren't decoded.
    incoming: BytesMut,
    frame: Option<DataFrame>,
    /// The last frame of data wasn't the last one of its message.
    is_fragment: bool,
    /// Complete frames that weren't sent.
    outgoing: BytesMut,
    failure: Option<Failure>,
    /// The client has sent a close frame, or the end of the stream.
    has_ended: bool,
    has_sent_close: bool,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    code: CloseCode,
    what: &'static str,
}

impl<S> WebSocket<S> {
    /// A stream after its handshake, behind which `incoming` has arrived.
    pub(crate) fn new(stream: S, incoming: BytesMut) -> Self {
        Self {
            stream,
            incoming,
            frame: None,
            is_fragment: false,
            outgoing: BytesMut::new(),
            failure: None,
            has_ended: false,
            has_sent_close: false,
        }
    }

    /// Decodes what has arrived into `buffer`. Returns whether it has to wait for more bytes.
    fn decode(&mut self, buffer: &mut ReadBuf<'_>) -> Result<bool, Failure> {
        while !self.has_ended {
            match &mut self.frame {
                Some(frame) if frame.left > 0 => {
                    let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
                    let count = left.min(self.incoming.len()).min(buffer.remaining());
                    if count == 0 {
                        return Ok(self.incoming.is_empty());
                    }
                    for byte in self.incoming.split_to(count) {
                        buffer.put_slice(&[byte ^ frame.mask[frame.at]]);
                        frame.at = (frame.at + 1) % 4;
                    }
                    frame.left -= count as u64;
                }
                _ => {
                    self.frame = None;
                    if !self.next_frame()? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Begins the next frame of data, or handles a control frame. `false` if it isn't complete enough.
    fn next_frame(&mut self) -> Result<bool, Failure> {
        let mut cursor = io::Cursor::new(&self.incoming[..]);
        let parsed = FrameHeader::parse(&mut cursor);
        let Some((header, length)) = parsed.map_err(|_| protocol("a frame of no known type"))?
        else {
            return Ok(false);
        };
        let header_length = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(protocol("reserved bits that are set"));
        }
        let mask = header.mask.ok_or(protocol("a frame without a mask"))?;
        match header.opcode {
            OpCode::Data(kind) => {
                match (kind, self.is_fragment) {
                    (Data::Binary, false) | (Data::Continue, true) => {}
                    (Data::Text, false) => {
                        return Err(Failure {
                            code: CloseCode::Unsupported,
                            what: "text, and MQTT is binary",
                        });
                    }
                    _ => return Err(protocol("a fragment in the wrong place")),
                }
                self.is_fragment = !header.is_final;
                self.incoming.advance(header_length);
                self.frame = Some(DataFrame {
                    left: length,
                    mask,
                    at: 0,
                });
            }
            OpCode::Control(kind) => {
                if length > MAX_CONTROL || !header.is_final {
                    return Err(protocol("a control frame that is too long or in fragments"));
                }
                let end = header_length + usize::try_from(length).unwrap_or_default();
                if self.incoming.len() < end {
                    return Ok(false);
                }
                let frame = self.incoming.split_to(end);
                let payload = frame.iter().skip(header_length);
                let payload = payload.zip(mask.iter().cycle());
                let payload: Vec<u8> = payload.map(|(byte, mask)| byte ^ mask).collect();
                self.control(kind, &payload);
            }
        }
        Ok(true)
    }

    fn control(&mut self, kind: Control, payload: &[u8]) {
        match kind {
            Control::Ping => self.push(OpCode::Control(Control::Pong), payload),
            Control::Close => {
                self.has_ended = true;
                // The code goes back to the client.
                self.close(payload.get(..2).unwrap_or_default());
            }
            Control::Pong | Control::Reserved(_) => {}
        }
    }

    /// Adds a close frame, once.
    fn close(&mut self, payload: &[u8]) {
        if !self.has_sent_close {
            self.has_sent_close = true;
            self.push(OpCode::Control(Control::Close), payload);
        }
    }

    fn push(&mut self, opcode: OpCode, payload: &[u8]) {
        let header = FrameHeader {
            opcode,
            ..FrameHeader::default()
        };
        // A buffer takes everything.
        let _ = header.format(payload.len() as u64, &mut (&mut self.outgoing).writer());
        self.outgoing.put_slice(payload);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let sent = Pin::new(&mut self.stream).poll_write(context, &self.outgoing);
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.outgoing.advance(count),
            }
        }
        // An idle connection keeps no buffer.
        self.outgoing = BytesMut::new();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Reads what has arrived; the number of bytes is at most what is needed.
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        needed: usize,
    ) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; READ_SIZE];
        let mut read = ReadBuf::uninit(space.get_mut(..needed.min(READ_SIZE)).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        self.incoming.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        loop {
            if let Some(failure) = this.failure {
                return Poll::Ready(Err(failure.into()));
            }
            // An error of sending is found by the one who sends.
            if this.poll_send(context).is_pending() && this.outgoing.len() > MAX_UNSENT {
                return Poll::Pending;
            }
            let decoded = this.decode(buffer);
            let has_some = buffer.filled().len() > before;
            match decoded {
                Err(failure) => {
                    this.failure = Some(failure);
                    if has_some {
                        return Poll::Ready(Ok(()));
                    }
                    continue;
                }
                Ok(true) if !has_some => {}
                Ok(_) => {
                    if this.incoming.is_empty() {
                        this.incoming = BytesMut::new();
                    }
                    // The answers to what was decoded.
                    let _ = this.poll_send(context);
                    return Poll::Ready(Ok(()));
                }
            }
            let _ = this.poll_send(context);
            // A header and a control frame fit into what is read besides.
            if ready!(this.poll_receive(context, buffer.remaining() + 160))? == 0 {
                this.has_ended = true;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.has_sent_close {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_send(context))?;
        let count = bytes.len().min(MAX_SENT);
        self.push(
            OpCode::Data(Data::Binary),
            bytes.get(..count).unwrap_or_default(),
        );
        // What is left is sent by a flush, or by the next call.
        match self.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let code = self
            .failure
            .map_or(CloseCode::Normal, |failure| failure.code);
        self.close(&u16::from(code).to_be_bytes());
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const fn protocol(what: &'static str) -> Failure {
    Failure {
        code: CloseCode::Protocol,
        what,
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(DisconnectReason::WebSocket(failure.what))
    }
}

#[cfg(test)]
mod tests;
