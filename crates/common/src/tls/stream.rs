//! The byte stream to a server: TCP, or TLS on it.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{ClientTls, ConnectError};

/// Bytes in both directions.
pub trait Bytes: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Bytes for T {}

/// A connection with or without TLS.
pub type Stream = Pin<Box<dyn Bytes>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// There is no server.
    #[error(transparent)]
    Unreachable(#[from] io::Error),
    /// The server isn't trusted, or refuses TLS with us.
    #[error(transparent)]
    Tls(#[from] ConnectError),
}

/// Connects, with TLS if `tls` is given. Each attempt resolves the name and reads the files of TLS again. The
/// caller limits the time.
pub async fn open(host: &str, port: u16, tls: Option<&ClientTls>) -> Result<Stream, StreamError> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(match tls {
        Some(tls) => Box::pin(tls.connect(host, tcp).await?),
        None => Box::pin(tcp),
    })
}
