//! Decodes the packets that a client may send after its CONNECT.

use super::cursor::{Cursor, variable_int};
use super::properties::{self, Place};
use super::{ProtocolError, Version};

/// The length of the smallest valid PUBLISH: QoS 0, a topic of one byte, no payload.
pub(crate) const SMALLEST_PUBLISH: usize = 5;

/// The fixed header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Type and flags.
    pub(crate) first: u8,
    /// Length of the header.
    pub(crate) body_at: usize,
    /// Length of the packet, with its header.
    pub(crate) length: usize,
}

impl Header {
    /// Decodes the header at the start of `bytes`; `None` if it isn't complete.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let Some((remaining, taken)) = variable_int(rest)? else {
            return Ok(None);
        };
        let body_at = 1 + taken;
        Ok(Some(Self {
            first,
            body_at,
            length: body_at + remaining,
        }))
    }

    /// An error if the packet has more than `max` bytes.
    pub(crate) const fn check_length(self, max: usize) -> Result<(), ProtocolError> {
        let size = self.length;
        if size > max {
            return Err(ProtocolError::TooLarge { size, max });
        }
        Ok(())
    }

    /// Whether it is the header of a PUBLISH.
    pub(crate) const fn is_publish(self) -> bool {
        self.first >> 4 == 3
    }
}

/// A packet, without the fields that the listener doesn't use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    Publish(Publish<'a>),
    /// Packet id. Only in MQTT 3.1.1, as QoS 2.
    PubRel(u16),
    /// Packet id and number of filters.
    Subscribe(u16, usize),
    /// Packet id and number of filters.
    Unsubscribe(u16, usize),
    PingReq,
    Disconnect,
}

/// A message that a client publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
}

impl<'a> Publish<'a> {
    /// The length of what is in front of the payload of a PUBLISH with this first byte; `None` if
    /// `body`, the beginning of what is behind its header, is too short to tell.
    pub(crate) fn head_length(
        first: u8,
        body: &[u8],
        version: Version,
    ) -> Result<Option<usize>, ProtocolError> {
        let Some(&topic) = body.first_chunk() else {
            return Ok(None);
        };
        let packet_id = if first & 6 == 0 { 0 } else { 2 };
        let length = 2 + usize::from(u16::from_be_bytes(topic)) + packet_id;
        if version == Version::V4 {
            return Ok(Some(length));
        }
        let properties = variable_int(body.get(length..).unwrap_or_default())?;
        Ok(properties.map(|(properties, taken)| length + taken + properties))
    }

    /// Decodes a PUBLISH with this first byte, and `body` behind its header.
    pub(crate) fn decode(
        first: u8,
        body: &'a [u8],
        version: Version,
    ) -> Result<Self, ProtocolError> {
        publish(first & 0x0f, Cursor::new(body), version)
    }
}

impl<'a> Packet<'a> {
    /// Decodes the packet with this first byte, and `body` behind its header.
    pub(crate) fn decode(
        first: u8,
        body: &'a [u8],
        version: Version,
    ) -> Result<Self, ProtocolError> {
        let body = Cursor::new(body);
        match (first >> 4, first & 0x0f) {
            (3, flags) => publish(flags, body, version).map(Self::Publish),
            (6, 2) if version == Version::V4 => release(body),
            (8, 2) => subscribe(body, version),
            (10, 2) => unsubscribe(body, version),
            (12, 0) if body.is_empty() => Ok(Self::PingReq),
            // Its reason code and properties change nothing.
            (14, 0) => Ok(Self::Disconnect),
            (6, _) if version == Version::V5 => Err(ProtocolError::NotAllowed(
                "a PUBREL, and QoS 2 isn't offered",
            )),
            (6 | 8 | 10 | 12 | 14, _) => {
                Err(ProtocolError::Malformed("reserved bits that are set"))
            }
            (1, _) => Err(ProtocolError::NotAllowed("a second CONNECT")),
            (0, _) => Err(ProtocolError::Malformed("a packet of no known type")),
            _ => Err(ProtocolError::NotAllowed(
                "a packet that only a server sends",
            )),
        }
    }
}

fn publish(
    flags: u8,
    mut body: Cursor<'_>,
    version: Version,
) -> Result<Publish<'_>, ProtocolError> {
    let (dup, retain) = (flags & 8 != 0, flags & 1 != 0);
    let qos = (flags >> 1) & 3;
    match qos {
        0 if dup => return Err(ProtocolError::Malformed("QoS 0 and sent again")),
        2 if version == Version::V5 => return Err(ProtocolError::QoS2),
        0..=2 => {}
        _ => return Err(ProtocolError::Malformed("QoS 3")),
    }
    let topic = body.string()?;
    let packet_id = if qos == 0 { 0 } else { body.packet_id()? };
    if version == Version::V5 && properties::decode(&mut body, Place::Publish)?.topic_alias {
        return Err(ProtocolError::TopicAlias);
    }
    if topic.is_empty() {
        return Err(ProtocolError::Malformed("an empty topic"));
    }
    if topic.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(ProtocolError::Malformed("a topic with wildcards"));
    }
    Ok(Publish {
        topic,
        payload: body.rest(),
        qos,
        packet_id,
        retain,
        dup,
    })
}

fn release(mut body: Cursor<'_>) -> Result<Packet<'_>, ProtocolError> {
    let packet_id = body.packet_id()?;
    if !body.is_empty() {
        return Err(ProtocolError::Malformed("a PUBREL that is too long"));
    }
    Ok(Packet::PubRel(packet_id))
}

fn subscribe(mut body: Cursor<'_>, version: Version) -> Result<Packet<'_>, ProtocolError> {
    let packet_id = body.packet_id()?;
    if version == Version::V5 {
        properties::decode(&mut body, Place::Subscribe)?;
    }
    let mut filters = 0;
    while !body.is_empty() {
        filter(&mut body)?;
        let options = body.u8()?;
        let (reserved, handling) = match version {
            Version::V4 => (0xfc, 0),
            Version::V5 => (0xc0, (options >> 4) & 3),
        };
        if options & reserved != 0 || options & 3 == 3 || handling == 3 {
            return Err(ProtocolError::Malformed("bad options of a subscription"));
        }
        filters += 1;
    }
    if filters == 0 {
        return Err(ProtocolError::NotAllowed("a SUBSCRIBE without a filter"));
    }
    Ok(Packet::Subscribe(packet_id, filters))
}

fn unsubscribe(mut body: Cursor<'_>, version: Version) -> Result<Packet<'_>, ProtocolError> {
    let packet_id = body.packet_id()?;
    if version == Version::V5 {
        properties::decode(&mut body, Place::Unsubscribe)?;
    }
    let mut filters = 0;
    while !body.is_empty() {
        filter(&mut body)?;
        filters += 1;
    }
    if filters == 0 {
        return Err(ProtocolError::NotAllowed("an UNSUBSCRIBE without a filter"));
    }
    Ok(Packet::Unsubscribe(packet_id, filters))
}

fn filter(body: &mut Cursor<'_>) -> Result<(), ProtocolError> {
    if body.string()?.is_empty() {
        return Err(ProtocolError::Malformed("an empty filter"));
    }
    Ok(())
}
