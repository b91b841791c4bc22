//! What goes out to a client, in its order.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;

use super::fault::Fault;

/// A client that takes nothing for this long is dropped.
const PATIENCE: Duration = Duration::from_secs(10);
/// With more than this unsent a client isn't read from: it would only ask for more answers.
const MOST_UNSENT: usize = 64 << 10;
/// What is kept of the buffer while there is nothing to send.
const KEPT: usize = 1 << 10;

/// The sending side of a connection.
#[derive(Debug)]
pub(crate) struct Outbound {
    writer: OwnedWriteHalf,
    unsent: Vec<u8>,
    sent: usize,
    /// Since when the client has taken nothing.
    blocked: Option<Instant>,
}

impl Outbound {
    pub(crate) const fn new(writer: OwnedWriteHalf) -> Self {
        Self {
            writer,
            unsent: Vec::new(),
            sent: 0,
            blocked: None,
        }
    }

    /// Where packets are put that are to be sent.
    pub(crate) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.unsent
    }

    /// Whether there is something to [`flush`](Self::poll_flush).
    pub(crate) const fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Whether so much is unsent that no more may be asked for.
    pub(crate) const fn is_full(&self) -> bool {
        self.unsent.len() - self.sent > MOST_UNSENT
    }

    /// Sends what there is. What was sent stays sent if the future that polls this is dropped.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = Pin::new(&mut self.writer).poll_write(context, rest);
            if written.is_pending() {
                self.blocked.get_or_insert_with(Instant::now);
            }
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.blocked = None;
        }
        self.sent = 0;
        self.unsent.clear();
        self.unsent.shrink_to(KEPT);
        Poll::Ready(Ok(()))
    }

    /// Tells the client that nothing more comes.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }

    /// When it is time for a [`check`](Self::check), if ever.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.blocked.map(|since| since + PATIENCE)
    }

    /// Fails if the client has taken nothing for too long.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self.blocked {
            Some(since) if since.elapsed() >= PATIENCE => Err(Fault::NotReading(PATIENCE)),
            _ => Ok(()),
        }
    }
}
