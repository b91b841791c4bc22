//! From the first byte of a connection to its CONNACK.

use std::time::Duration;

use bytes::BytesMut;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::codec::encode::{self, Accepted};
use super::codec::{Connect, ConnectError, Header, ProtocolError, Version};
use super::mismatch::{Mismatch, Speaks};
use super::reason::{ConnectRefusal, DisconnectReason};
use super::stream::{Incoming, read_arrived};
use super::websocket;

/// Time for all handshakes: for the complete CONNECT to arrive, and for the check of its password.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest CONNECT. Each of its strings can have 64 KiB, but the client hasn't logged in yet.
const MAX_CONNECT: usize = 512 << 10;
/// A CONNECT of up to this size may be incomplete without reserving memory.
const SMALL_CONNECT: usize = 4 << 10;
/// Bytes that are read at once, and at most behind the CONNECT.
const READ_SIZE: usize = 1 << 10;
/// Longer client ids are refused: each open connection keeps its own in memory.
const MAX_CLIENT_ID: usize = 1_024;

/// A client that isn't accepted, and is told why.
#[derive(Debug)]
pub(crate) struct RefusedClient {
    pub(crate) version: Version,
    pub(crate) refusal: ConnectRefusal,
    pub(crate) client_id: String,
    pub(crate) maximum_packet: Option<u32>,
}

/// A client that is accepted.
#[derive(Debug)]
pub(crate) struct AcceptedClient {
    pub(crate) connect: Connect,
    /// Its user name, if that was checked.
    pub(crate) user: Option<String>,
    /// The listener chose the client id.
    pub(crate) has_assigned_id: bool,
    /// Bytes that arrived behind the CONNECT.
    pub(crate) read_ahead: BytesMut,
}

/// Why a client isn't accepted.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// It gets a CONNACK.
    Refused(RefusedClient),
    /// It gets no answer.
    Disconnect(DisconnectReason),
    /// It speaks this, at the wrong port.
    Mismatch(Speaks),
    /// It got an error of HTTP.
    NotUpgraded(websocket::Refused),
    /// The client has closed the connection.
    Closed,
}

impl From<DisconnectReason> for HandshakeError {
    fn from(reason: DisconnectReason) -> Self {
        Self::Disconnect(reason)
    }
}

impl From<ProtocolError> for HandshakeError {
    fn from(error: ProtocolError) -> Self {
        Self::Disconnect(error.into())
    }
}

/// Reads the CONNECT, authenticates the client, and assigns a client id if the client has none.
///
/// `user` is the one that its certificate names, if it has to show one.
pub(crate) async fn accept_client(
    socket: &mut impl Incoming,
    shared: &Shared,
    user: Option<String>,
    deadline: Instant,
) -> Result<AcceptedClient, HandshakeError> {
    timeout_at(deadline, accept(socket, shared, user))
        .await
        .map_err(|_| DisconnectReason::Slow(CONNECT_TIMEOUT))?
}

async fn accept(
    socket: &mut impl Incoming,
    shared: &Shared,
    user: Option<String>,
) -> Result<AcceptedClient, HandshakeError> {
    let mut bytes = BytesMut::new();
    let header = read_connect(socket, shared, &mut bytes).await?;
    let packet = bytes.split_to(header.length);
    let body = packet.get(header.body_at..).unwrap_or_default();
    let mut connect = Connect::decode(header, body).map_err(|error| match error {
        ConnectError::Protocol(error) => error.into(),
        ConnectError::Version(version) => HandshakeError::Refused(RefusedClient {
            version,
            refusal: ConnectRefusal::Version,
            client_id: String::new(),
            maximum_packet: None,
        }),
    })?;
    let accepted = match (refusal(&connect), user) {
        (Some(refusal), _) => Err(refusal),
        (None, Some(user)) => Ok(Some(user)),
        (None, None) => shared.authenticator.authenticate(&connect).await,
    };
    let accepted = accepted.and_then(|user| Ok((user, assign_client_id(&mut connect)?)));
    match accepted {
        Ok((user, has_assigned_id)) => Ok(AcceptedClient {
            connect,
            user,
            has_assigned_id,
            read_ahead: bytes,
        }),
        Err(refusal) => Err(HandshakeError::Refused(RefusedClient {
            version: connect.version,
            refusal,
            maximum_packet: connect.properties.maximum_packet,
            client_id: connect.client_id,
        })),
    }
}

/// Assigns a client id if the client has none. Returns whether it did.
fn assign_client_id(connect: &mut Connect) -> Result<bool, ConnectRefusal> {
    if !connect.client_id.is_empty() {
        return Ok(false);
    }
    // Two clients with the same id would take over each other's connection.
    let random = getrandom::u64().map_err(|_| ConnectRefusal::Busy)?;
    connect.client_id = format!("rigline-{random:016x}");
    Ok(true)
}

/// Encodes the CONNACK for an accepted client.
pub(crate) fn encode_connack(client: &AcceptedClient, out: &mut BytesMut) {
    let connect = &client.connect;
    let accepted = Accepted {
        assigned_id: client.has_assigned_id.then_some(connect.client_id.as_str()),
        wants_session: connect.properties.session_expiry > 0,
    };
    encode::connect_accepted(out, connect.version, accepted);
}

/// Why this CONNECT is refused, for any user.
pub(crate) fn refusal(connect: &Connect) -> Option<ConnectRefusal> {
    let id = &connect.client_id;
    let needs_id = connect.version == Version::V4 && !connect.clean;
    if id.len() > MAX_CLIENT_ID || id.is_empty() && needs_id {
        Some(ConnectRefusal::ClientId)
    } else if connect.properties.authentication_method {
        Some(ConnectRefusal::Method)
    } else if connect.version == Version::V5 && connect.will_qos == Some(2) {
        Some(ConnectRefusal::WillQoS)
    } else {
        None
    }
}

/// Reads until `bytes` begins with a complete packet.
async fn read_connect(
    socket: &mut impl Incoming,
    shared: &Shared,
    bytes: &mut BytesMut,
) -> Result<Header, HandshakeError> {
    let mut reserved = None;
    loop {
        if let Some(other) = Mismatch::of(bytes).filter(|&speaks| speaks != Speaks::Mqtt) {
            return Err(HandshakeError::Mismatch(other));
        }
        if let Some(header) = Header::decode(bytes)? {
            header.check_length(shared.max_packet.min(MAX_CONNECT))?;
            if bytes.len() >= header.length {
                return Ok(header);
            }
            if header.length > SMALL_CONNECT && reserved.is_none() {
                reserved = shared
                    .limits
                    .reserve_partial_connect(header.length)
                    .await
                    .ok();
            }
        }
        // The first byte is enough to know, so don't wait for the rest.
        if bytes.first().is_some_and(|first| first >> 4 != 1) {
            return Err(ProtocolError::NotAllowed("a first packet that isn't CONNECT").into());
        }
        let arrived = async {
            socket.readable().await?;
            read_arrived::<READ_SIZE>(socket, READ_SIZE, &mut |read| bytes.extend_from_slice(read))
                .await
        };
        match arrived.await {
            Ok(Some(1..)) => {}
            // Either the socket isn't readable after all, or it is the turn of other tasks.
            Ok(None) => yield_now().await,
            Ok(Some(0)) => return Err(HandshakeError::Closed),
            // It breaks the protocol below MQTT, or the connection.
            Err(error) => {
                return Err(error
                    .downcast()
                    .map_or(HandshakeError::Closed, HandshakeError::Disconnect));
            }
        }
    }
}
