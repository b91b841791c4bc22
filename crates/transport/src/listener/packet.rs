//! Packets that a client may send after its CONNECT.

use super::cursor::{Cursor, number};
use super::fault::Fault;
use super::properties::{self, Place};

/// The smallest PUBLISH that is one: at QoS 0, with a topic of one byte and nothing else.
pub(crate) const SMALLEST_PUBLISH: usize = 5;

/// The version of MQTT that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

/// A packet's first byte, and where the packet ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Type and flags.
    pub(crate) first: u8,
    /// Bytes before the body.
    pub(crate) body_at: usize,
    /// Bytes of the packet, header included.
    pub(crate) length: usize,
}

impl Header {
    /// Reads it; nothing if it isn't complete. The packet itself needn't be.
    pub(crate) fn read(bytes: &[u8], most: usize) -> Result<Option<Self>, Fault> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let Some((remaining, taken)) = number(rest)? else {
            return Ok(None);
        };
        let body_at = 1 + taken;
        let length = body_at + remaining;
        if length > most {
            return Err(Fault::TooLarge { size: length, most });
        }
        Ok(Some(Self {
            first,
            body_at,
            length,
        }))
    }
}

/// A packet, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    Publish(Publish<'a>),
    /// The number of its filters.
    Subscribe(u16, usize),
    /// The number of its filters.
    Unsubscribe(u16, usize),
    Ping,
    Disconnect,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
}

impl<'a> Packet<'a> {
    /// Reads the packet that has this first byte and consists of `body` behind its header.
    pub(crate) fn read(first: u8, body: &'a [u8], version: Version) -> Result<Self, Fault> {
        let body = Cursor::new(body);
        match (first >> 4, first & 0x0f) {
            (3, flags) => publish(flags, body, version).map(Self::Publish),
            (8, 2) => subscribe(body, version),
            (10, 2) => unsubscribe(body, version),
            (12, 0) if body.is_empty() => Ok(Self::Ping),
            // Whatever else is in it: the client is going.
            (14, 0) => Ok(Self::Disconnect),
            (8 | 10 | 12 | 14, _) => Err(Fault::Malformed("reserved bits that are set")),
            (1, _) => Err(Fault::Protocol("a second CONNECT")),
            (0, _) => Err(Fault::Malformed("a packet of no known type")),
            _ => Err(Fault::Protocol("a packet that only a server sends")),
        }
    }
}

fn publish(flags: u8, mut body: Cursor<'_>, version: Version) -> Result<Publish<'_>, Fault> {
    let (dup, retain) = (flags & 8 != 0, flags & 1 != 0);
    let qos = (flags >> 1) & 3;
    match qos {
        0 if dup => return Err(Fault::Malformed("QoS 0 and sent again")),
        0 | 1 => {}
        2 => return Err(Fault::QoS2),
        _ => return Err(Fault::Malformed("QoS 3")),
    }
    let topic = body.text()?;
    let packet_id = if qos == 0 { 0 } else { body.packet_id()? };
    if version == Version::V5 && properties::read(&mut body, Place::Publish)?.alias {
        return Err(Fault::TopicAlias);
    }
    if topic.is_empty() {
        return Err(Fault::Malformed("an empty topic"));
    }
    if topic.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(Fault::Malformed("a topic with wildcards"));
    }
    Ok(Publish {
        topic,
        payload: body.rest(),
        packet_id,
        retain,
        dup,
    })
}

fn subscribe(mut body: Cursor<'_>, version: Version) -> Result<Packet<'_>, Fault> {
    let packet_id = body.packet_id()?;
    if version == Version::V5 {
        properties::read(&mut body, Place::Subscribe)?;
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
            return Err(Fault::Malformed("bad options of a subscription"));
        }
        filters += 1;
    }
    if filters == 0 {
        return Err(Fault::Protocol("a SUBSCRIBE without a filter"));
    }
    Ok(Packet::Subscribe(packet_id, filters))
}

fn unsubscribe(mut body: Cursor<'_>, version: Version) -> Result<Packet<'_>, Fault> {
    let packet_id = body.packet_id()?;
    if version == Version::V5 {
        properties::read(&mut body, Place::Unsubscribe)?;
    }
    let mut filters = 0;
    while !body.is_empty() {
        filter(&mut body)?;
        filters += 1;
    }
    if filters == 0 {
        return Err(Fault::Protocol("an UNSUBSCRIBE without a filter"));
    }
    Ok(Packet::Unsubscribe(packet_id, filters))
}

fn filter(body: &mut Cursor<'_>) -> Result<(), Fault> {
    if body.text()?.is_empty() {
        return Err(Fault::Malformed("an empty filter"));
    }
    Ok(())
}
