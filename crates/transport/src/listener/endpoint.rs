//! An address of the listener, and what is spoken there below MQTT.

use common::tls::{ServerTls, is_not_tls};
use tokio::net::TcpStream;

use super::certificate::common_name;
use super::handshake::HandshakeError;
use super::mismatch::{Mismatch, Speaks};
use super::reason::DisconnectReason;
use super::stream::AnyStream;
use super::websocket::{Origins, upgrade};

/// First bytes that are enough to tell what a client speaks.
const FIRST_BYTES: usize = 512;

/// What is spoken at an address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endpoint {
    pub(crate) tls: Option<ServerTls>,
    /// The CN of the client's certificate is its user name.
    pub(crate) certificate_is_login: bool,
    /// MQTT in WebSocket, from pages of these origins.
    pub(crate) web_socket: Option<Origins>,
}

/// A connection after the handshakes below MQTT.
pub(crate) struct Opened {
    pub(crate) stream: AnyStream,
    /// The user that its certificate names.
    pub(crate) user: Option<String>,
}

impl Endpoint {
    /// Whether MQTT is spoken without anything below.
    pub(crate) const fn is_plain(&self) -> bool {
        self.tls.is_none() && self.web_socket.is_none()
    }

    /// Does the handshakes below MQTT.
    pub(crate) async fn open(&self, stream: TcpStream) -> Result<Opened, HandshakeError> {
        let (stream, user) = match &self.tls {
            Some(tls) => self.open_tls(tls, stream).await?,
            None => (AnyStream::new(stream), None),
        };
        let stream = match &self.web_socket {
            Some(origins) => AnyStream::new(upgrade(stream, origins).await?),
            None => stream,
        };
        Ok(Opened { stream, user })
    }

    async fn open_tls(
        &self,
        tls: &ServerTls,
        stream: TcpStream,
    ) -> Result<(AnyStream, Option<String>), HandshakeError> {
        let mut first = [0; FIRST_BYTES];
        let count = stream.peek(&mut first).await;
        let count = count.map_err(|_| HandshakeError::Closed)?;
        match Mismatch::of(first.get(..count).unwrap_or_default()) {
            Some(Speaks::Tls) | None => {}
            Some(other) => return Err(HandshakeError::Mismatch(other)),
        }
        let accepted = tls.acceptor().accept(stream).await;
        let stream = accepted.map_err(|error| {
            let why = if is_not_tls(&error) {
                "what it sent isn't TLS".to_owned()
            } else {
                error.to_string()
            };
            HandshakeError::Disconnect(DisconnectReason::Tls(why))
        })?;
        let user = if self.certificate_is_login {
            let certificates = stream.get_ref().1.peer_certificates();
            let name = certificates.and_then(|all| common_name(all.first()?));
            let missing = || DisconnectReason::Tls("its certificate has no CN".to_owned());
            Some(name.ok_or_else(missing)?)
        } else {
            None
        };
        Ok((AnyStream::new(stream), user))
    }
}
