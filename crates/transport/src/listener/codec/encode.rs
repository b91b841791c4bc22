//! Encodes the packets that the listener sends.

use bytes::BytesMut;

use super::Version;
use crate::listener::reason::{ConnectRefusal, DisconnectReason};

/// How many messages an MQTT 5 client may have unacknowledged. The listener accepts more: the limits
/// on memory bound what it keeps.
const RECEIVE_MAXIMUM: u16 = 1_000;
/// A client that accepts no packets of this size gets no reason strings.
const REASON_STRING_NEEDS: u32 = 256;

/// What the CONNACK of MQTT 5 tells an accepted client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted<'a> {
    /// The client id, if the listener has assigned it.
    pub(crate) assigned_id: Option<&'a str>,
    /// The client asked for a session that outlives the connection.
    pub(crate) wants_session: bool,
}

/// The CONNACK for an accepted client.
pub(crate) fn connect_accepted(out: &mut BytesMut, version: Version, accepted: Accepted<'_>) {
    if version == Version::V4 {
        return out.extend_from_slice(&[0x20, 2, 0, 0]);
    }
    let mut properties = Vec::new();
    if accepted.wants_session {
        properties.extend([0x11, 0, 0, 0, 0]);
    }
    properties.push(0x21);
    properties.extend(RECEIVE_MAXIMUM.to_be_bytes());
    // QoS 1 at most. No maximum packet size: clients would keep back larger messages, and nobody would
    // learn of them.
    properties.extend([0x24, 1]);
    if let Some(id) = accepted.assigned_id {
        properties.push(0x12);
        string(&mut properties, id);
    }
    // No subscriptions with wildcards, with identifiers, or shared ones.
    properties.extend([0x28, 0, 0x29, 0, 0x2a, 0]);
    packet(
        out,
        0x20,
        &[&[0, 0], &variable_int(properties.len()), &properties],
    );
}

/// The CONNACK for a refused client, which accepts packets of up to `maximum_packet` bytes.
pub(crate) fn connect_refused(
    out: &mut BytesMut,
    version: Version,
    refusal: ConnectRefusal,
    maximum_packet: Option<u32>,
) {
    match version {
        Version::V4 => out.extend_from_slice(&[0x20, 2, 0, refusal.v4_code()]),
        Version::V5 => {
            let reason = reason_string(&refusal.to_string(), maximum_packet);
            packet(out, 0x20, &[&[0, refusal.v5_code()], &reason]);
        }
    }
}

/// A PUBACK. Success has the same form in both versions.
pub(crate) fn publish_ack(out: &mut BytesMut, id: u16) {
    with_packet_id(out, 0x40, id);
}

/// The PUBACK of MQTT 5 that refuses a message: not authorized. MQTT 3.1.1 has none.
pub(crate) fn publish_refused(out: &mut BytesMut, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[0x40, 3, high, low, 0x87]);
}

/// The PUBREC of MQTT 3.1.1: a message of QoS 2 is safe.
pub(crate) fn publish_received(out: &mut BytesMut, id: u16) {
    with_packet_id(out, 0x50, id);
}

/// The PUBCOMP of MQTT 3.1.1: the packet id is free again.
pub(crate) fn publish_complete(out: &mut BytesMut, id: u16) {
    with_packet_id(out, 0x70, id);
}

fn with_packet_id(out: &mut BytesMut, first: u8, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// The SUBACK that refuses all of `filters`.
pub(crate) fn subscribe_refused(out: &mut BytesMut, version: Version, id: u16, filters: usize) {
    match version {
        Version::V4 => packet(out, 0x90, &[&id.to_be_bytes(), &vec![0x80; filters]]),
        Version::V5 => packet(out, 0x90, &[&id.to_be_bytes(), &[0], &vec![0x87; filters]]),
    }
}

/// The UNSUBACK for `filters`, to none of which the client was subscribed.
pub(crate) fn unsubscribe_ack(out: &mut BytesMut, version: Version, id: u16, filters: usize) {
    match version {
        Version::V4 => packet(out, 0xb0, &[&id.to_be_bytes()]),
        Version::V5 => packet(out, 0xb0, &[&id.to_be_bytes(), &[0], &vec![0x11; filters]]),
    }
}

/// The PINGRESP.
pub(crate) fn ping_response(out: &mut BytesMut) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// The DISCONNECT, which servers send in MQTT 5 only.
pub(crate) fn disconnect(
    out: &mut BytesMut,
    version: Version,
    reason: &DisconnectReason,
    maximum_packet: Option<u32>,
) {
    if version == Version::V5 {
        let string = reason_string(&reason.to_string(), maximum_packet);
        packet(out, 0xe0, &[&[reason.code()], &string]);
    }
}

/// Properties with a reason string, if the client accepts packets that are large enough for it.
fn reason_string(reason: &str, maximum_packet: Option<u32>) -> Vec<u8> {
    if maximum_packet.is_some_and(|size| size < REASON_STRING_NEEDS) {
        return vec![0];
    }
    let mut property = vec![0x1f];
    string(&mut property, reason);
    let mut properties = variable_int(property.len());
    properties.extend(property);
    properties
}

fn string(out: &mut Vec<u8>, string: &str) {
    // Reasons are short constants, and client ids were decoded from a string of MQTT.
    let length = u16::try_from(string.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(string.bytes().take(length.into()));
}

fn packet(out: &mut BytesMut, first: u8, parts: &[&[u8]]) {
    out.extend_from_slice(&[first]);
    out.extend_from_slice(&variable_int(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A variable byte integer, of one to four bytes.
fn variable_int(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4);
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
