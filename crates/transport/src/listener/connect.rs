//! The CONNECT packet.

use super::cursor::Cursor;
use super::fault::{Fault, Refusal};
use super::packet::{Header, Version};
use super::properties::{self, Place, Properties};

/// Longer client ids are refused: each open connection keeps its own in memory.
pub(crate) const LONGEST_CLIENT_ID: usize = 1_024;

/// What a client says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    /// It wants no session that outlives the connection (3.1.1), or a new one (5).
    pub(crate) clean: bool,
    /// Seconds; 0 is none.
    pub(crate) keep_alive: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    /// The QoS of the will, which is ignored otherwise.
    pub(crate) will: Option<u8>,
    pub(crate) properties: Properties,
}

/// A first packet that is answered with a refusal, in the form that its sender may understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Not even a CONNECT: there is no answer to it.
    Fault(Fault),
    /// A version that isn't spoken here; the answer has the form of this one.
    Version(Version),
}

impl From<Fault> for Unfit {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Connect {
    /// Reads it: the packet that has this header, and `body` behind it.
    pub(crate) fn read(header: Header, body: &[u8]) -> Result<Self, Unfit> {
        if header.first >> 4 != 1 {
            return Err(Fault::Protocol("a first packet that isn't CONNECT").into());
        }
        if header.first & 0x0f != 0 {
            return Err(Fault::Malformed("reserved bits that are set").into());
        }
        let mut body = Cursor::new(body);
        let version = version(&mut body)?;
        Ok(connect(body, version)?)
    }

    /// Whether it can't be let in, whoever it is.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let (version, id) = (self.version, &self.client_id);
        if id.len() > LONGEST_CLIENT_ID || version == Version::V4 && id.is_empty() && !self.clean {
            Some(Refusal::ClientId)
        } else if self.properties.method {
            Some(Refusal::Method)
        } else if version == Version::V5 && self.will == Some(2) {
            Some(Refusal::WillQoS)
        } else {
            None
        }
    }
}

fn version(body: &mut Cursor<'_>) -> Result<Version, Unfit> {
    let name = body.bytes()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(Fault::Protocol("another protocol than MQTT").into());
    }
    match (name, body.u8()?) {
        (b"MQTT", 4) => Ok(Version::V4),
        (b"MQTT", 5) => Ok(Version::V5),
        // The highest bit is that of bridges, which understand what their version does.
        (b"MQTT", level) if level & 0x7f > 4 => Err(Unfit::Version(Version::V5)),
        _ => Err(Unfit::Version(Version::V4)),
    }
}

fn connect(mut body: Cursor<'_>, version: Version) -> Result<Connect, Fault> {
    let flags = body.u8()?;
    let has = |bit: u8| flags & bit != 0;
    let will_qos = (flags >> 3) & 3;
    if has(1) {
        return Err(Fault::Malformed("reserved bits that are set"));
    }
    if will_qos == 3 || !has(4) && flags & 0x38 != 0 {
        return Err(Fault::Malformed("bad flags of a will"));
    }
    if version == Version::V4 && has(0x40) && !has(0x80) {
        return Err(Fault::Malformed("a password without a user name"));
    }
    let keep_alive = body.u16()?;
    let mut given = Properties::default();
    if version == Version::V5 {
        given = properties::read(&mut body, Place::Connect)?;
    }
    let client_id = body.text()?.to_owned();
    if has(4) {
        if version == Version::V5 {
            properties::read(&mut body, Place::Will)?;
        }
        body.text()?;
        body.bytes()?;
    }
    let user = has(0x80).then(|| body.text()).transpose()?;
    let password = has(0x40).then(|| body.bytes()).transpose()?;
    if !body.is_empty() {
        return Err(Fault::Malformed("more in it than its flags say"));
    }
    Ok(Connect {
        version,
        client_id,
        clean: has(2),
        keep_alive,
        user: user.map(ToOwned::to_owned),
        password: password.map(ToOwned::to_owned),
        will: has(4).then_some(will_qos),
        properties: given,
    })
}
