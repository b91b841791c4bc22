//! Decodes the CONNECT packet.

use super::cursor::Cursor;
use super::packet::Header;
use super::properties::{self, Place, Properties};
use super::{ProtocolError, Version};

/// A CONNECT packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    /// Clean session (3.1.1) or clean start (5).
    pub(crate) clean: bool,
    /// In seconds; 0 turns it off.
    pub(crate) keep_alive: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    /// The QoS of the will. The rest of the will is ignored.
    pub(crate) will_qos: Option<u8>,
    pub(crate) properties: Properties,
}

/// Why a first packet isn't a CONNECT of a supported version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The CONNACK that refuses it has the form of this version, which the client may understand.
    #[error("a version of MQTT that isn't supported")]
    Version(Version),
}

impl Connect {
    /// Decodes the packet with this header, and `body` behind it.
    pub(crate) fn decode(header: Header, body: &[u8]) -> Result<Self, ConnectError> {
        if header.first >> 4 != 1 {
            return Err(ProtocolError::NotAllowed("a first packet that isn't CONNECT").into());
        }
        if header.first & 0x0f != 0 {
            return Err(ProtocolError::Malformed("reserved bits that are set").into());
        }
        let mut body = Cursor::new(body);
        let version = version(&mut body)?;
        Ok(connect(body, version)?)
    }
}

fn version(body: &mut Cursor<'_>) -> Result<Version, ConnectError> {
    let name = body.bytes()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(ProtocolError::NotAllowed("another protocol than MQTT").into());
    }
    match (name, body.u8()?) {
        (b"MQTT", 4) => Ok(Version::V4),
        (b"MQTT", 5) => Ok(Version::V5),
        // Bridges set the highest bit of the level.
        (b"MQTT", level) if level & 0x7f > 4 => Err(ConnectError::Version(Version::V5)),
        _ => Err(ConnectError::Version(Version::V4)),
    }
}

fn connect(mut body: Cursor<'_>, version: Version) -> Result<Connect, ProtocolError> {
    let flags = body.u8()?;
    let has = |bit: u8| flags & bit != 0;
    let will_qos = (flags >> 3) & 3;
    if has(1) {
        return Err(ProtocolError::Malformed("reserved bits that are set"));
    }
    if will_qos == 3 || !has(4) && flags & 0x38 != 0 {
        return Err(ProtocolError::Malformed("bad flags of a will"));
    }
    if version == Version::V4 && has(0x40) && !has(0x80) {
        return Err(ProtocolError::Malformed("a password without a user name"));
    }
    let keep_alive = body.u16()?;
    let mut properties = Properties::default();
    if version == Version::V5 {
        properties = properties::decode(&mut body, Place::Connect)?;
    }
    let client_id = body.string()?.to_owned();
    if has(4) {
        if version == Version::V5 {
            properties::decode(&mut body, Place::Will)?;
        }
        body.string()?;
        body.bytes()?;
    }
    let user = has(0x80).then(|| body.string()).transpose()?;
    let password = has(0x40).then(|| body.bytes()).transpose()?;
    if !body.is_empty() {
        return Err(ProtocolError::Malformed("more in it than its flags say"));
    }
    Ok(Connect {
        version,
        client_id,
        clean: has(2),
        keep_alive,
        user: user.map(ToOwned::to_owned),
        password: password.map(ToOwned::to_owned),
        will_qos: has(4).then_some(will_qos),
        properties,
    })
}
