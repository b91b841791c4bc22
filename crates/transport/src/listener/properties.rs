//! The properties of MQTT 5: each with its type, and where it may stand.

use super::cursor::Cursor;
use super::fault::Fault;

/// Where properties stand.
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

/// What of them matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    /// How long the session should outlive the connection, in seconds.
    pub(crate) session_expiry: u32,
    /// The largest packet that the client takes.
    pub(crate) maximum_packet: Option<u32>,
    /// It wants to log in by a method of its own.
    pub(crate) method: bool,
    /// The topic is given as a number.
    pub(crate) alias: bool,
}

impl Place {
    const fn takes(self, id: u8) -> bool {
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
            // A subscription's number is for the server to send.
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

/// Reads the properties that stand here, their length first.
pub(crate) fn read(packet: &mut Cursor<'_>, place: Place) -> Result<Properties, Fault> {
    let length = packet.number()?;
    let mut given = Properties::default();
    if length == 0 {
        return Ok(given);
    }
    let mut from = Cursor::new(packet.take(length)?);
    let mut seen = 0_u64;
    while !from.is_empty() {
        let id = from.u8()?;
        if !place.takes(id) {
            return Err(Fault::Malformed("a property that can't stand there"));
        }
        // Those that may stand anywhere are below 64.
        let bit = 1 << (id & 63);
        if seen & bit != 0 && id != USER {
            return Err(Fault::Protocol("a property that stands there twice"));
        }
        seen |= bit;
        one(id, &mut from, &mut given)?;
    }
    if seen & (1 << AUTHENTICATION) != 0 && !given.method {
        return Err(Fault::Protocol("authentication without a method"));
    }
    Ok(given)
}

fn one(id: u8, from: &mut Cursor<'_>, given: &mut Properties) -> Result<(), Fault> {
    match id {
        PAYLOAD_FORMAT | PROBLEMS | RESPONSES => {
            if from.u8()? > 1 {
                return Err(Fault::Protocol("a property that is neither 0 nor 1"));
            }
        }
        RECEIVE_MAXIMUM => {
            if from.u16()? == 0 {
                return Err(Fault::Protocol("a receive maximum of 0"));
            }
        }
        ALIAS_MAXIMUM => {
            from.u16()?;
        }
        ALIAS => {
            from.u16()?;
            given.alias = true;
        }
        MESSAGE_EXPIRY | WILL_DELAY => {
            from.u32()?;
        }
        SESSION_EXPIRY => given.session_expiry = from.u32()?,
        MAXIMUM_PACKET => match from.u32()? {
            0 => return Err(Fault::Protocol("a maximum packet size of 0")),
            most => given.maximum_packet = Some(most),
        },
        SUBSCRIPTION_ID => {
            if from.number()? == 0 {
                return Err(Fault::Protocol("a subscription identifier of 0"));
            }
        }
        CORRELATION | AUTHENTICATION => {
            from.bytes()?;
        }
        METHOD => {
            from.text()?;
            given.method = true;
        }
        USER => {
            from.text()?;
            from.text()?;
        }
        _ => {
            from.text()?;
        }
    }
    Ok(())
}
