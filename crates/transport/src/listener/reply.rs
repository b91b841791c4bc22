//! Packets that are sent to clients.

use super::fault::{Fault, Refusal};
use super::packet::Version;

/// How many messages an MQTT 5 client may have unacknowledged. More are taken as well: what is kept
/// in memory is bounded otherwise.
const RECEIVE_MAXIMUM: u16 = 1_000;
/// Reason texts are left out for a client that takes no packet of this size.
const ROOM_FOR_REASONS: u32 = 256;

/// What the CONNACK of MQTT 5 tells a client that is let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Welcome<'a> {
    /// The largest packet that we take.
    pub(crate) max_packet: usize,
    /// The client id that it has got from us.
    pub(crate) assigned: Option<&'a str>,
    /// It asked for a session that outlives the connection.
    pub(crate) wants_session: bool,
}

/// The CONNACK for a client that is let in.
pub(crate) fn welcome(out: &mut Vec<u8>, version: Version, welcome: Welcome<'_>) {
    if version == Version::V4 {
        return out.extend([0x20, 2, 0, 0]);
    }
    let most = u32::try_from(welcome.max_packet).unwrap_or(u32::MAX);
    let mut properties = Vec::new();
    if welcome.wants_session {
        properties.extend([0x11, 0, 0, 0, 0]);
    }
    properties.push(0x21);
    properties.extend(RECEIVE_MAXIMUM.to_be_bytes());
    // QoS 1 at most.
    properties.extend([0x24, 1]);
    properties.push(0x27);
    properties.extend(most.to_be_bytes());
    if let Some(id) = welcome.assigned {
        properties.push(0x12);
        text(&mut properties, id);
    }
    // No subscriptions with wildcards, with identifiers, or shared ones.
    properties.extend([0x28, 0, 0x29, 0, 0x2a, 0]);
    packet(
        out,
        0x20,
        &[&[0, 0], &length(properties.len()), &properties],
    );
}

/// The CONNACK for a client that isn't.
pub(crate) fn refusal(out: &mut Vec<u8>, version: Version, refusal: Refusal, most: Option<u32>) {
    match version {
        Version::V4 => out.extend([0x20, 2, 0, refusal.v4()]),
        Version::V5 => {
            let reason = reason(&refusal.to_string(), most);
            packet(out, 0x20, &[&[0, refusal.v5()], &reason]);
        }
    }
}

/// PUBACKs. Success has the same form in both versions.
pub(crate) fn acknowledgements(out: &mut Vec<u8>, packet_ids: &[u16]) {
    out.reserve(4 * packet_ids.len());
    for id in packet_ids {
        let [high, low] = id.to_be_bytes();
        out.extend([0x40, 2, high, low]);
    }
}

/// The SUBACK that refuses all of `filters`.
pub(crate) fn no_subscription(out: &mut Vec<u8>, version: Version, id: u16, filters: usize) {
    match version {
        Version::V4 => packet(out, 0x90, &[&id.to_be_bytes(), &vec![0x80; filters]]),
        Version::V5 => packet(out, 0x90, &[&id.to_be_bytes(), &[0], &vec![0x87; filters]]),
    }
}

/// The UNSUBACK for `filters` of which none was subscribed.
pub(crate) fn unsubscribed(out: &mut Vec<u8>, version: Version, id: u16, filters: usize) {
    match version {
        Version::V4 => packet(out, 0xb0, &[&id.to_be_bytes()]),
        Version::V5 => packet(out, 0xb0, &[&id.to_be_bytes(), &[0], &vec![0x11; filters]]),
    }
}

/// The PINGRESP.
pub(crate) fn pong(out: &mut Vec<u8>) {
    out.extend([0xd0, 0]);
}

/// The DISCONNECT, which servers send in MQTT 5 only.
pub(crate) fn disconnect(out: &mut Vec<u8>, version: Version, fault: &Fault, most: Option<u32>) {
    if version == Version::V5 {
        packet(
            out,
            0xe0,
            &[&[fault.code()], &reason(&fault.to_string(), most)],
        );
    }
}

/// Properties that hold a reason in words, if there is room for it.
fn reason(words: &str, most: Option<u32>) -> Vec<u8> {
    if most.is_some_and(|most| most < ROOM_FOR_REASONS) {
        return vec![0];
    }
    let mut property = vec![0x1f];
    text(&mut property, words);
    let mut properties = length(property.len());
    properties.extend(property);
    properties
}

fn text(out: &mut Vec<u8>, text: &str) {
    // All of them are ours, or were read as a text of MQTT: none is longer than that can be.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(text.bytes().take(length.into()));
}

fn packet(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    out.push(first);
    out.extend(length(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        out.extend(*part);
    }
}

/// A number of one to four bytes.
fn length(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4);
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low & 0x7f);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
