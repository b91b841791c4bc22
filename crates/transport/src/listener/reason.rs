//! Why the listener refuses a client, or ends its connection: log texts, metric labels, and the
//! protocol's codes.

use std::io;
use std::time::Duration;

use super::codec::ProtocolError;

/// Why the listener ends a connection. The text follows the name of the client in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DisconnectReason {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("it sent no packet for 1.5 times its keep-alive")]
    KeepAlive,
    #[error("it began a packet and didn't complete it within {0:?}")]
    Slow(Duration),
    #[error("it sent less than {0} bytes of a packet above MQTT_MAX_PACKET within {1:?}")]
    SlowRate(usize, Duration),
    #[error("it hasn't read our answers for {0:?}")]
    NotReading(Duration),
    #[error("another client connected with its client id")]
    TakenOver,
    #[error("{0}")]
    WrongProtocol(String),
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    #[error("its WebSocket handshake was refused: {0}")]
    NotUpgraded(String),
    #[error("it broke the WebSocket protocol: it sent {0}")]
    WebSocket(&'static str),
    #[error("the listener is shutting down")]
    ShuttingDown,
}

impl DisconnectReason {
    /// The reason code for the DISCONNECT of MQTT 5.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Protocol(ProtocolError::Malformed(_)) => 0x81,
            Self::Protocol(ProtocolError::NotAllowed(_))
            | Self::WrongProtocol(_)
            | Self::Tls(_)
            | Self::NotUpgraded(_)
            | Self::WebSocket(_) => 0x82,
            Self::Protocol(ProtocolError::QoS2) => 0x9b,
            Self::Protocol(ProtocolError::TopicAlias) => 0x94,
            Self::Protocol(ProtocolError::TooLarge { .. }) => 0x95,
            Self::KeepAlive => 0x8d,
            Self::Slow(_) | Self::SlowRate(..) | Self::NotReading(_) => 0x83,
            Self::TakenOver => 0x8e,
            Self::ShuttingDown => 0x8b,
        }
    }

    /// The label under which it is counted; `None` if the client didn't cause it.
    pub(crate) const fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::Protocol(ProtocolError::Malformed(_)) => "malformed",
            Self::Protocol(ProtocolError::NotAllowed(_)) => "protocol",
            Self::Protocol(ProtocolError::QoS2) => "qos_2",
            Self::Protocol(ProtocolError::TopicAlias) => "topic_alias",
            Self::Protocol(ProtocolError::TooLarge { .. }) => "too_large",
            Self::KeepAlive => "keep_alive",
            Self::Slow(_) | Self::SlowRate(..) => "slow",
            Self::NotReading(_) => "not_reading",
            Self::TakenOver => "taken_over",
            Self::WrongProtocol(_) => "wrong_protocol",
            Self::Tls(_) => "tls",
            Self::NotUpgraded(_) | Self::WebSocket(_) => "websocket",
            Self::ShuttingDown => return None,
        })
    }
}

/// Why a connection ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The client disconnected, or its connection broke.
    ByClient,
    /// The listener ends it.
    ByListener(DisconnectReason),
}

impl From<DisconnectReason> for ConnectionEnd {
    fn from(reason: DisconnectReason) -> Self {
        Self::ByListener(reason)
    }
}

impl From<ProtocolError> for ConnectionEnd {
    fn from(error: ProtocolError) -> Self {
        Self::ByListener(error.into())
    }
}

impl From<io::Error> for ConnectionEnd {
    fn from(error: io::Error) -> Self {
        match error.downcast() {
            Ok(reason) => Self::ByListener(reason),
            Err(_) => Self::ByClient,
        }
    }
}

/// Why the listener refuses a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectRefusal {
    #[error("only MQTT 3.1.1 and 5 are supported")]
    Version,
    #[error("it needs a client id of 1 to 1024 bytes, or a clean session")]
    ClientId,
    #[error("bad user name or password")]
    Login,
    #[error("a user name and a password are required")]
    NotAuthorized,
    #[error("its will has QoS 2; QoS 1 is the highest supported")]
    WillQoS,
    #[error("authentication methods aren't supported, only user names and passwords")]
    Method,
    #[error("the listener is busy, try again")]
    Busy,
    #[error("{0} connections of its user are open, the limit (MQTT_MAX_CONNECTIONS_PER_USER)")]
    OfUser(usize),
}

impl ConnectRefusal {
    /// The return code of MQTT 3.1.1.
    pub(crate) const fn v4_code(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::ClientId => 2,
            Self::Login => 4,
            Self::NotAuthorized | Self::WillQoS | Self::Method => 5,
            Self::Busy | Self::OfUser(_) => 3,
        }
    }

    /// The reason code of MQTT 5.
    pub(crate) const fn v5_code(self) -> u8 {
        match self {
            Self::Version => 0x84,
            Self::ClientId => 0x85,
            Self::Login => 0x86,
            Self::NotAuthorized => 0x87,
            Self::WillQoS => 0x9b,
            Self::Method => 0x8c,
            Self::Busy => 0x89,
            Self::OfUser(_) => 0x97,
        }
    }

    /// The label under which it is counted.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::ClientId => "client_id",
            Self::Login => "login",
            Self::NotAuthorized => "not_authorized",
            Self::WillQoS => "will_qos_2",
            Self::Method => "method",
            Self::Busy => "busy",
            Self::OfUser(_) => "connections_of_user",
        }
    }
}
