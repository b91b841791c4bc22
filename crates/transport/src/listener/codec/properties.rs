//! Decodes the properties of MQTT 5, and checks which packets may have them.

use super::ProtocolError;
use super::cursor::Cursor;

/// The packet, or part of one, that has the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Connect,
    Will,
    Publish,
    Subscribe,
    Unsubscribe,
}

const PAYLOAD_FORMAT: u8 = 1;
const MESSAGE_EXPIRY: u8 = 2;
const CONTENT_TYPE: u8 = 3;
const RESPONSE_TOPIC: u8 = 8;
const CORRELATION: u8 = 9;
const SUBSCRIPTION_ID: u8 = 11;
pub(crate) const SESSION_EXPIRY: u8 = 17;
const METHOD: u8 = 21;
const AUTHENTICATION: u8 = 22;
const PROBLEMS: u8 = 23;
const WILL_DELAY: u8 = 24;
const RESPONSES: u8 = 25;
pub(crate) const RECEIVE_MAXIMUM: u8 = 33;
const ALIAS_MAXIMUM: u8 = 34;
const ALIAS: u8 = 35;
const USER: u8 = 38;
pub(crate) const MAXIMUM_PACKET: u8 = 39;

/// The properties that the listener uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    /// How long the client wants its session to outlive the connection, in seconds.
    pub(crate) session_expiry: u32,
    /// The largest packet that the client accepts.
    pub(crate) maximum_packet: Option<u32>,
    /// The client wants extended authentication.
    pub(crate) authentication_method: bool,
    /// The PUBLISH has a topic alias.
    pub(crate) topic_alias: bool,
}

impl Place {
    const fn allows(self, id: u8) -> bool {
        match self {
            Self::Connect => matches!(
                id,
                SESSION_EXPIRY
                    | RECEIVE_MAXIMUM
                    | MAXIMUM_PACKET
                    | ALIAS_MAXIMUM
                    | RESPONSES
                    | PROBLEMS
                    | USER
                    | METHOD
                    | AUTHENTICATION
            ),
            Self::Will => matches!(
                id,
                WILL_DELAY
                    | PAYLOAD_FORMAT
                    | MESSAGE_EXPIRY
                    | CONTENT_TYPE
                    | RESPONSE_TOPIC
                    | CORRELATION
                    | USER
            ),
            // Only a server sends a subscription identifier.
            Self::Publish => matches!(
                id,
                PAYLOAD_FORMAT
                    | MESSAGE_EXPIRY
                    | ALIAS
                    | RESPONSE_TOPIC
                    | CORRELATION
                    | USER
                    | CONTENT_TYPE
            ),
            Self::Subscribe => matches!(id, SUBSCRIPTION_ID | USER),
            Self::Unsubscribe => id == USER,
        }
    }
}

/// Decodes the properties at the start of `packet`, which begin with their length.
pub(crate) fn decode(packet: &mut Cursor<'_>, place: Place) -> Result<Properties, ProtocolError> {
    let length = packet.variable_int()?;
    let mut given = Properties::default();
    if length == 0 {
        return Ok(given);
    }
    let mut from = Cursor::new(packet.take(length)?);
    let mut seen = 0_u64;
    while !from.is_empty() {
        let id = from.u8()?;
        if !place.allows(id) {
            return Err(ProtocolError::Malformed(
                "a property that can't stand there",
            ));
        }
        // All ids that `allows` accepts are below 64.
        let bit = 1 << (id & 63);
        if seen & bit != 0 && id != USER {
            return Err(ProtocolError::NotAllowed(
                "a property that stands there twice",
            ));
        }
        seen |= bit;
        decode_one(id, &mut from, &mut given)?;
    }
    if seen & (1 << AUTHENTICATION) != 0 && !given.authentication_method {
        return Err(ProtocolError::NotAllowed("authentication without a method"));
    }
    Ok(given)
}

fn decode_one(id: u8, from: &mut Cursor<'_>, given: &mut Properties) -> Result<(), ProtocolError> {
    match id {
        PAYLOAD_FORMAT | PROBLEMS | RESPONSES => {
            if from.u8()? > 1 {
                return Err(ProtocolError::NotAllowed(
                    "a property that is neither 0 nor 1",
                ));
            }
        }
        RECEIVE_MAXIMUM => {
            if from.u16()? == 0 {
                return Err(ProtocolError::NotAllowed("a receive maximum of 0"));
            }
        }
        ALIAS_MAXIMUM => {
            from.u16()?;
        }
        ALIAS => {
            from.u16()?;
            given.topic_alias = true;
        }
        MESSAGE_EXPIRY | WILL_DELAY => {
            from.u32()?;
        }
        SESSION_EXPIRY => given.session_expiry = from.u32()?,
        MAXIMUM_PACKET => match from.u32()? {
            0 => return Err(ProtocolError::NotAllowed("a maximum packet size of 0")),
            most => given.maximum_packet = Some(most),
        },
        SUBSCRIPTION_ID => {
            if from.variable_int()? == 0 {
                return Err(ProtocolError::NotAllowed("a subscription identifier of 0"));
            }
        }
        CORRELATION | AUTHENTICATION => {
            from.bytes()?;
        }
        METHOD => {
            from.string()?;
            given.authentication_method = true;
        }
        USER => {
            from.string()?;
            from.string()?;
        }
        _ => {
            from.string()?;
        }
    }
    Ok(())
}
