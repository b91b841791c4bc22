//! The streams of bytes that packets are read from and written to.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

/// Bytes that [`Buffered`] reads to find out that there are some.
const AHEAD: usize = 1 << 10;

/// The receiving half of a connection.
pub(crate) trait Incoming: AsyncRead + Unpin + Send + 'static {
    /// Waits until there is something to read, an error, or the end. Takes next to no memory meanwhile.
    fn readable(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Incoming for OwnedReadHalf {
    async fn readable(&mut self) -> io::Result<()> {
        Self::readable(self).await
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A stream in both directions, of any kind.
pub(crate) struct AnyStream(Box<dyn Duplex>);

impl AnyStream {
    pub(crate) fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self(Box::new(stream))
    }
}

impl AsyncRead for AnyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for AnyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// The receiving half of a stream that can't say whether there is something to read.
#[derive(Debug)]
pub(crate) struct Buffered<T> {
    inner: T,
    ahead: Bytes,
}

impl<T> Buffered<T> {
    pub(crate) const fn new(inner: T) -> Self {
        Self {
            inner,
            ahead: Bytes::new(),
        }
    }
}

impl<T: AsyncRead + Unpin + Send + 'static> Incoming for Buffered<T> {
    async fn readable(&mut self) -> io::Result<()> {
        if self.ahead.is_empty() {
            let inner = &mut self.inner;
            self.ahead = poll_fn(|context| {
                let mut space = [const { MaybeUninit::uninit() }; AHEAD];
                let mut read = ReadBuf::uninit(&mut space);
                ready!(Pin::new(&mut *inner).poll_read(context, &mut read))?;
                Poll::Ready(io::Result::Ok(Bytes::copy_from_slice(read.filled())))
            })
            .await?;
        }
        Ok(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Buffered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let count = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(self.ahead.get(..count).unwrap_or_default());
        self.ahead.advance(count);
        if self.ahead.is_empty() {
            // It holds the memory of all that was read.
            self.ahead = Bytes::new();
            if buffer.remaining() > 0 {
                // What else has arrived. An error or the end comes again at the next read.
                let _ = Pin::new(&mut self.inner).poll_read(context, buffer);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads what has arrived, up to `SIZE` bytes, and hands it to `take`. Returns the number of bytes; `None` if
/// nothing has arrived, or if the task has run for so long that it has to yield. Waits for nothing.
///
/// `try_read` would do the same with one more system call: only `poll_read` notes that a read that doesn't
/// fill its space has emptied the socket.
pub(crate) async fn read_arrived<const SIZE: usize>(
    stream: &mut (impl AsyncRead + Unpin),
    most: usize,
    take: &mut (dyn FnMut(&[u8]) + Send),
) -> io::Result<Option<usize>> {
    poll_fn(|context| {
        let mut space = [const { MaybeUninit::uninit() }; SIZE];
        let most = most.min(SIZE);
        let mut read = ReadBuf::uninit(space.get_mut(..most).unwrap_or_default());
        match Pin::new(&mut *stream).poll_read(context, &mut read) {
            Poll::Pending => Poll::Ready(Ok(None)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                take(read.filled());
                Poll::Ready(Ok(Some(read.filled().len())))
            }
        }
    })
    .await
}
