//! Entry points for tests with generated inputs.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, join, sink};

use super::acl;
use super::auth::Users;
use super::codec::{Connect, Header, PacketBuffer, Version};
use super::websocket::{Origins, WebSocket, upgrade};
use crate::source::Sender;

/// Most bytes of a packet.
const MAX_PACKET: usize = 4096;

/// Decodes bytes of a client as the listener does, first a CONNECT, then all packets that follow. The bytes arrive in
/// two parts. Returns what was decoded, in words.
#[must_use]
pub fn decode_packets(bytes: &[u8], first_part: usize) -> String {
    let mut all = String::new();
    let (first, second) = bytes.split_at(first_part.min(bytes.len()));
    for version in [Version::V4, Version::V5] {
        let mut buffer = PacketBuffer::new(version, MAX_PACKET, Bytes::copy_from_slice(first));
        // A connection ends with its first error.
        if decode_all(&mut buffer, &mut all) {
            buffer.append(second);
            decode_all(&mut buffer, &mut all);
        }
    }
    all
}

/// Decodes until nothing more is complete. False after an error.
fn decode_all(buffer: &mut PacketBuffer, all: &mut String) -> bool {
    loop {
        // Writing to a string can't fail.
        match buffer.next_packet() {
            Ok(None) => return true,
            Ok(Some(packet)) => {
                let _ = writeln!(all, "{packet:?}");
            }
            Err(error) => {
                let _ = writeln!(all, "{error}");
                return false;
            }
        }
    }
}

/// Decodes a CONNECT. Returns what it holds, in words.
#[must_use]
pub fn decode_connect(bytes: &[u8]) -> String {
    match Header::decode(bytes) {
        Ok(Some(header)) => {
            let body = bytes.get(header.body_at..header.length);
            format!("{:?}", Connect::decode(header, body.unwrap_or_default()))
        }
        other => format!("{other:?}"),
    }
}

/// Reads the content of a password file. Returns the error, if there is one.
#[must_use]
pub fn read_password_file(text: &str) -> Option<String> {
    Users::parse(text, "users").err().map(|bad| bad.to_string())
}

/// Whether the rules of an ACL file allow a user to publish to a topic, or the number of a wrong line.
pub fn may_publish(rules: &str, user: &str, topic: &str) -> Result<bool, usize> {
    let sender = Sender {
        user: Some(user.to_owned()),
        client_id: user.to_owned(),
    };
    acl::may_publish(rules, &sender, topic)
}

/// Reads the bytes in the frames of a WebSocket, of which the first ones arrived with its handshake. Returns them,
/// and whether the stream ended without an error.
pub async fn read_frames(first: &[u8], rest: &[u8]) -> (Vec<u8>, bool) {
    let stream = join(rest, sink());
    let mut socket = WebSocket::new(stream, BytesMut::from(first));
    let mut all = Vec::new();
    let ended = socket.read_to_end(&mut all).await;
    (all, ended.is_ok())
}

/// Answers the request that begins a WebSocket. Returns whether it is accepted.
pub async fn begin_websocket(request: &[u8]) -> bool {
    let origins = Origins::Local;
    upgrade(join(request, sink()), &origins).await.is_ok()
}
