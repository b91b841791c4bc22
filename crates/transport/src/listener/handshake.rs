//! From the first byte to the CONNACK.

use std::io;
use std::time::Duration;

use getrandom::u64 as random;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use super::connect::{Connect, Unfit};
use super::fault::{Fault, Refusal};
use super::inbound::SMALL;
use super::packet::{Header, Version};
use super::reply::{self, Welcome};
use super::shared::Shared;

/// A client that has said nothing after this long isn't one.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The largest CONNECT: each of its texts can have 64 KiB, and nobody knows yet who sends it.
const LARGEST: usize = 512 << 10;
/// Bytes that are read in one go.
const READ: usize = 1 << 10;

/// A client that isn't let in, for a reason that it may be told.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) version: Version,
    pub(crate) refusal: Refusal,
    pub(crate) client_id: String,
    pub(crate) maximum_packet: Option<u32>,
}

/// What comes of a connection's beginning.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Let in; what came behind the CONNECT.
    Client(Box<Connect>, Vec<u8>),
    Refused(Refused),
    /// It isn't worth an answer.
    Fault(Fault),
    /// It went away.
    Gone,
}

/// Reads the CONNECT, and decides on it; the client has an id afterwards.
pub(crate) async fn receive(reader: &OwnedReadHalf, shared: &Shared) -> Outcome {
    let mut bytes = Vec::new();
    let header = match timeout(CONNECT_WITHIN, whole_packet(reader, shared, &mut bytes)).await {
        Err(_) => return Outcome::Fault(Fault::Slow(CONNECT_WITHIN)),
        Ok(Err(fault)) => return Outcome::Fault(fault),
        Ok(Ok(None)) => return Outcome::Gone,
        Ok(Ok(Some(header))) => header,
    };
    let rest = bytes.split_off(header.length.min(bytes.len()));
    let body = bytes.get(header.body_at..).unwrap_or_default();
    let refused = |version, refusal| {
        Outcome::Refused(Refused {
            version,
            refusal,
            client_id: String::new(),
            maximum_packet: None,
        })
    };
    let connect = match Connect::read(header, body) {
        Ok(connect) => connect,
        Err(Unfit::Fault(fault)) => return Outcome::Fault(fault),
        Err(Unfit::Version(version)) => return refused(version, Refusal::Version),
    };
    let refusal = match connect.refusal() {
        Some(refusal) => Some(refusal),
        None => shared.log_in(&connect).await.err(),
    };
    match refusal {
        None => Outcome::Client(Box::new(connect), rest),
        Some(refusal) => Outcome::Refused(Refused {
            version: connect.version,
            refusal,
            maximum_packet: connect.properties.maximum_packet,
            client_id: connect.client_id,
        }),
    }
}

/// Gives a client an id that has none, and writes the CONNACK.
pub(crate) fn accept(connect: &mut Connect, max_packet: usize, out: &mut Vec<u8>) {
    let assigned = connect.client_id.is_empty();
    if assigned {
        // Without randomness it shares its id with others of its kind, and they take turns.
        connect.client_id = format!("rigline-{:016x}", random().unwrap_or_default());
    }
    let welcome = Welcome {
        max_packet,
        assigned: assigned.then_some(connect.client_id.as_str()),
        wants_session: connect.properties.session_expiry > 0,
    };
    reply::welcome(out, connect.version, welcome);
}

/// Reads until the first packet is complete; nothing if the stream ends before.
async fn whole_packet(
    reader: &OwnedReadHalf,
    shared: &Shared,
    bytes: &mut Vec<u8>,
) -> Result<Option<Header>, Fault> {
    let mut part = None;
    loop {
        let header = Header::read(bytes, shared.max_packet.min(LARGEST))?;
        if let Some(header) = header {
            if bytes.len() >= header.length {
                return Ok(Some(header));
            }
            if header.length > SMALL && part.is_none() {
                part = shared.budget.connect(header.length).await;
            }
        }
        // Known from its first byte, before more of it is waited for.
        if bytes.first().is_some_and(|first| first >> 4 != 1) {
            return Err(Fault::Protocol("a first packet that isn't CONNECT"));
        }
        if reader.readable().await.is_err() || !more(reader, bytes) {
            return Ok(None);
        }
    }
}

/// Reads what is there; `false` at the end of the stream.
fn more(reader: &OwnedReadHalf, bytes: &mut Vec<u8>) -> bool {
    let mut chunk = [0; READ];
    match reader.try_read(&mut chunk) {
        Ok(0) => false,
        Ok(count) => {
            bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
            true
        }
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
