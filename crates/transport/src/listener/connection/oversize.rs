//! A PUBLISH that is larger than `MQTT_MAX_PACKET`. It is read to its end without being held in memory,
//! so that the messages behind it arrive: a device that sends it again after each reconnect would
//! otherwise never deliver them.

use bytes::Bytes;
use model::dead_letter::{KEPT_OF_TOO_LARGE, PayloadDigest};
use sha2::{Digest, Sha256};

use crate::listener::codec::{Header, ProtocolError, Publish, Version};

/// The most bytes in front of the payload: a topic has up to 64 KiB, the rest is for properties.
const MAX_HEAD: usize = 128 << 10;

/// The most bytes that are held while a packet is read in pieces of `piece` bytes.
pub(crate) const fn most_held(piece: usize) -> usize {
    MAX_HEAD + KEPT_OF_TOO_LARGE + 2 * piece
}

/// An oversize PUBLISH that was read to its end.
#[derive(Debug)]
pub(crate) struct OversizePublish {
    /// Type and flags.
    first: u8,
    /// The packet behind its header, up to the first KiB of its payload.
    pub(crate) body: Bytes,
    /// Describes the whole payload.
    pub(crate) whole: PayloadDigest,
}

impl OversizePublish {
    /// The message, with the beginning of its payload.
    pub(crate) fn decode(&self, version: Version) -> Result<Publish<'_>, ProtocolError> {
        Publish::decode(self.first, &self.body, version)
    }
}

/// Reads an oversize PUBLISH, in pieces.
#[derive(Debug)]
pub(crate) struct OversizeReader {
    header: Header,
    version: Version,
    /// Bytes that haven't arrived.
    left: usize,
    /// The beginning of the body.
    kept: Vec<u8>,
    /// Length of what is in front of the payload, once it is complete.
    head: Option<usize>,
    length: usize,
    sha256: Sha256,
}

impl OversizeReader {
    /// A reader of what is behind this header.
    pub(crate) fn new(header: Header, version: Version) -> Self {
        Self {
            header,
            version,
            left: header.length - header.body_at,
            kept: Vec::new(),
            head: None,
            length: 0,
            sha256: Sha256::new(),
        }
    }

    /// Bytes of the packet that haven't arrived.
    pub(crate) const fn left(&self) -> usize {
        self.left
    }

    /// Takes the next bytes of the packet.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.left = self.left.saturating_sub(bytes.len());
        if self.head.is_some() {
            self.push_payload(bytes);
            return Ok(());
        }
        self.kept.extend_from_slice(bytes);
        if let Some(head) = self.complete_head()? {
            let payload = self.kept.split_off(head);
            self.head = Some(head);
            self.push_payload(&payload);
        }
        Ok(())
    }

    /// The message; an error if it ends before its payload begins.
    pub(crate) fn finish(self) -> Result<OversizePublish, ProtocolError> {
        if self.head.is_none() {
            return Err(ProtocolError::Malformed("it ends too early"));
        }
        Ok(OversizePublish {
            first: self.header.first,
            body: self.kept.into(),
            whole: PayloadDigest {
                length: self.length,
                sha256: self.sha256.finalize().into(),
            },
        })
    }

    /// The length of what is in front of the payload, if it has arrived and is valid.
    fn complete_head(&self) -> Result<Option<usize>, ProtocolError> {
        let (first, version) = (self.header.first, self.version);
        let head = Publish::head_length(first, &self.kept, version)?;
        if let Some(head) = head {
            if head > self.header.length - self.header.body_at {
                return Err(ProtocolError::Malformed("it ends too early"));
            }
            if head > MAX_HEAD {
                return Err(ProtocolError::NotAllowed(
                    "a large PUBLISH with more than 64 KiB of properties",
                ));
            }
            if let Some(bytes) = self.kept.get(..head) {
                // An error is found before all of the packet is read.
                Publish::decode(first, bytes, version)?;
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn push_payload(&mut self, payload: &[u8]) {
        self.sha256.update(payload);
        self.length += payload.len();
        let most = self.head.unwrap_or_default() + KEPT_OF_TOO_LARGE;
        let free = most.saturating_sub(self.kept.len()).min(payload.len());
        self.kept
            .extend_from_slice(payload.get(..free).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_HEAD, OversizePublish, OversizeReader};
    use crate::listener::codec::{Header, ProtocolError, Version};
    use model::dead_letter::PayloadDigest;

    fn header(first: u8, length: usize) -> Header {
        Header {
            first,
            body_at: 4,
            length: 4 + length,
        }
    }

    fn read(
        first: u8,
        version: Version,
        body: &[u8],
        pieces: &[usize],
    ) -> Result<OversizePublish, ProtocolError> {
        let mut reader = OversizeReader::new(header(first, body.len()), version);
        let (mut rest, mut sizes) = (body, pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            reader.push(piece)?;
            rest = later;
            assert_eq!(reader.left(), rest.len());
        }
        reader.finish()
    }

    proptest! {
        #[test]
        fn topic_beginning_length_and_hash_are_kept_whatever_the_pieces(
            v5 in any::<bool>(),
            has_id in any::<bool>(),
            topic in "[a-z/]{1,3000}",
            properties in 0..200_usize,
            payload in proptest::collection::vec(any::<u8>(), 0..5_000),
            pieces in proptest::collection::vec(1..4_000_usize, 1..10),
        ) {
            let version = if v5 { Version::V5 } else { Version::V4 };
            let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
            body.extend(topic.bytes());
            if has_id {
                body.extend([1, 2]);
            }
            if v5 {
                // User properties of five bytes each: two empty strings.
                let length = 5 * properties;
                body.extend([u8::try_from(length % 128).unwrap() | 128, u8::try_from(length / 128).unwrap()]);
                body.extend([38, 0, 0, 0, 0].repeat(properties));
            }
            let head = body.len();
            body.extend(&payload);
            let first = if has_id { 0x3b } else { 0x31 };
            let oversize = read(first, version, &body, &pieces).unwrap();
            prop_assert_eq!(oversize.whole, PayloadDigest::of(&payload));
            prop_assert_eq!(oversize.body.len(), head + payload.len().min(1_024));
            let publish = oversize.decode(version).unwrap();
            prop_assert_eq!(publish.topic, topic);
            prop_assert_eq!(publish.payload, &payload[..payload.len().min(1_024)]);
            prop_assert_eq!(publish.packet_id, if has_id { 0x102 } else { 0 });
            prop_assert_eq!((publish.dup, publish.retain), (has_id, true));
        }
    }

    #[test]
    fn errors_are_found_as_soon_as_the_payload_begins() {
        let early = |first, version, body: &[u8], length| {
            let mut reader = OversizeReader::new(header(first, length), version);
            reader.push(body).map_err(|error| error.to_string())
        };
        let (v4, v5) = (Version::V4, Version::V5);
        assert_eq!(early(0x30, v4, b"\0\x01tx", 1 << 20), Ok(()));
        for (first, version, body, length, expected) in [
            (0x36, v4, b"\0\x01t\0\x01x".as_slice(), 1 << 20, "QoS 3"),
            (0x30, v4, b"\0\x01#x", 1 << 20, "wildcards"),
            (0x30, v4, b"\0\x01\xffx", 1 << 20, "UTF-8"),
            (0x30, v4, b"\xff\xff", 10_000, "ends too early"),
            (0x30, v5, b"\0\x01t\x03\x23\0\x01", 1 << 20, "alias"),
            (0x30, v5, b"\0\x01t\xff\xff\x7f", 1 << 30, "of properties"),
            (0x30, v5, b"\0\x01t\xff\xff\xff\xff", 1 << 30, "four bytes"),
        ] {
            let error = early(first, version, body, length).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let cut = read(0x32, v4, b"\0\x01t\0", &[1]).unwrap_err();
        assert_eq!(cut, ProtocolError::Malformed("it ends too early"));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut body = b"\xff\xff".to_vec();
        body.resize(65_537, b't');
        body.resize(4 << 20, b'x');
        let mut reader = OversizeReader::new(header(0x30, body.len()), Version::V4);
        for piece in body.chunks(16 << 10) {
            reader.push(piece).unwrap();
            assert!(reader.kept.capacity() <= 2 * MAX_HEAD);
        }
        assert_eq!(reader.finish().unwrap().whole.length, (4 << 20) - 65_537);
    }
}
