//! MQTT packets as bytes: decodes what clients send, encodes what the listener answers.
//!
//! The input may be hostile: the decoder trusts no length and never panics.

mod connect;
pub(crate) mod cursor;
pub(crate) mod encode;
mod packet;
mod properties;

use bytes::{Bytes, BytesMut};

pub(crate) use connect::{Connect, ConnectError};
pub(crate) use packet::{Header, Packet, Publish, SMALLEST_PUBLISH};

/// The version of MQTT that a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

/// Bytes that can't be decoded, or a packet that isn't allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("it sent a malformed packet: {0}")]
    Malformed(&'static str),
    #[error("it broke the protocol: {0}")]
    NotAllowed(&'static str),
    #[error("it published with QoS 2, which isn't offered with MQTT 5: publish with QoS 1")]
    QoS2,
    #[error("it used a topic alias, and none was offered")]
    TopicAlias,
    #[error("it sent a packet of {size} bytes; MQTT_MAX_PACKET is {max}")]
    TooLarge { size: usize, max: usize },
}

/// Bytes of a connection from which packets are decoded, one after the other.
#[derive(Debug)]
pub(crate) struct PacketBuffer {
    version: Version,
    max_packet: usize,
    bytes: Bytes,
    /// Length of the packets at the start that were decoded.
    decoded: usize,
}

impl PacketBuffer {
    /// A buffer that holds `bytes`. A packet of more than `max_packet` bytes is an error, except for a
    /// PUBLISH, which isn't decoded.
    pub(crate) const fn new(version: Version, max_packet: usize, bytes: Bytes) -> Self {
        Self {
            version,
            max_packet,
            bytes,
            decoded: 0,
        }
    }

    /// The version of the protocol in which packets are decoded.
    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// All bytes, with those of decoded packets.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes that aren't decoded.
    pub(crate) fn remaining(&self) -> &[u8] {
        self.bytes.get(self.decoded..).unwrap_or_default()
    }

    /// Replaces all bytes.
    pub(crate) fn set(&mut self, bytes: Bytes) {
        self.bytes = bytes;
        self.decoded = 0;
    }

    /// Adds bytes to those that aren't decoded. The others are dropped.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let remaining = self.remaining();
        let mut all = BytesMut::with_capacity(remaining.len() + bytes.len());
        all.extend_from_slice(remaining);
        all.extend_from_slice(bytes);
        self.set(all.freeze());
    }

    /// Drops the decoded packets. Copies what remains, so that it doesn't keep their memory.
    pub(crate) fn compact(&mut self) {
        self.set(Bytes::copy_from_slice(self.remaining()));
    }

    /// Removes up to `count` bytes that aren't decoded from the front, and returns them.
    pub(crate) fn take(&mut self, count: usize) -> Bytes {
        self.bytes = self.bytes.slice(self.decoded.min(self.bytes.len())..);
        self.decoded = 0;
        self.bytes.split_to(count.min(self.bytes.len()))
    }

    /// Whether the packet with this header is an oversize PUBLISH, which isn't decoded.
    pub(crate) const fn is_oversize(&self, header: Header) -> bool {
        header.length > self.max_packet
    }

    /// Decodes the next packet; `None` if it isn't complete, or an oversize PUBLISH.
    pub(crate) fn next_packet(&mut self) -> Result<Option<Packet<'_>>, ProtocolError> {
        let Some(header) = self.next_header()? else {
            return Ok(None);
        };
        if self.is_oversize(header) {
            return Ok(None);
        }
        let remaining = self.bytes.get(self.decoded..).unwrap_or_default();
        let Some(body) = remaining.get(header.body_at..header.length) else {
            return Ok(None);
        };
        self.decoded += header.length;
        Packet::decode(header.first, body, self.version).map(Some)
    }

    /// The header of the next packet, once it is complete.
    pub(crate) fn next_header(&self) -> Result<Option<Header>, ProtocolError> {
        let header = Header::decode(self.remaining())?;
        if let Some(header) = header
            && !header.is_publish()
        {
            header.check_length(self.max_packet)?;
        }
        Ok(header)
    }
}
