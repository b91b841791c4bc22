//! Why the listener refuses a client, or ends its connection.

use std::time::Duration;

/// What was wrong with a connection that we end, as the log says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it sent a malformed packet: {0}")]
    Malformed(&'static str),
    #[error("it broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("it published with QoS 2, which isn't offered: publish with QoS 1")]
    QoS2,
    #[error("it used a topic alias, and none was offered")]
    TopicAlias,
    #[error("it sent a packet of {size} bytes; MQTT_MAX_PACKET is {most}")]
    TooLarge { size: usize, most: usize },
    #[error("nothing was heard of it for 1.5 times its keep-alive")]
    KeepAlive,
    #[error("it began a packet and didn't complete it within {0:?}")]
    Slow(Duration),
    #[error("it hasn't read our answers for {0:?}")]
    NotReading(Duration),
    #[error("another client connected with its client id")]
    TakenOver,
    #[error("the listener stops")]
    ShuttingDown,
}

impl Fault {
    /// MQTT 5's reason code for the DISCONNECT.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Malformed(_) => 0x81,
            Self::Protocol(_) => 0x82,
            Self::QoS2 => 0x9b,
            Self::TopicAlias => 0x94,
            Self::TooLarge { .. } => 0x95,
            Self::KeepAlive => 0x8d,
            Self::Slow(_) | Self::NotReading(_) => 0x83,
            Self::TakenOver => 0x8e,
            Self::ShuttingDown => 0x8b,
        }
    }

    /// The label it is counted under; nothing if it is nobody's fault.
    pub(crate) const fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::Malformed(_) => "malformed",
            Self::Protocol(_) => "protocol",
            Self::QoS2 => "qos_2",
            Self::TopicAlias => "topic_alias",
            Self::TooLarge { .. } => "too_large",
            Self::KeepAlive => "keep_alive",
            Self::Slow(_) => "slow",
            Self::NotReading(_) => "not_reading",
            Self::TakenOver => "taken_over",
            Self::ShuttingDown => return None,
        })
    }
}

/// Why a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("MQTT 3.1.1 and 5 are spoken here")]
    Version,
    #[error("a client id of 1 to 1024 bytes, or a clean session")]
    ClientId,
    #[error("bad user name or password")]
    Login,
    #[error("a user name and a password are needed")]
    NotAuthorized,
    #[error("a will with QoS 2; QoS 1 is the most here")]
    WillQoS,
    #[error("no authentication methods here, only user names and passwords")]
    Method,
    #[error("the listener is busy, try again")]
    Busy,
}

impl Refusal {
    /// The return code of MQTT 3.1.1.
    pub(crate) const fn v4(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::ClientId => 2,
            Self::Login => 4,
            Self::NotAuthorized | Self::WillQoS | Self::Method => 5,
            Self::Busy => 3,
        }
    }

    /// The reason code of MQTT 5.
    pub(crate) const fn v5(self) -> u8 {
        match self {
            Self::Version => 0x84,
            Self::ClientId => 0x85,
            Self::Login => 0x86,
            Self::NotAuthorized => 0x87,
            Self::WillQoS => 0x9b,
            Self::Method => 0x8c,
            Self::Busy => 0x89,
        }
    }

    /// The label it is counted under.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::ClientId => "client_id",
            Self::Login => "login",
            Self::NotAuthorized => "not_authorized",
            Self::WillQoS => "will_qos_2",
            Self::Method => "method",
            Self::Busy => "busy",
        }
    }
}
