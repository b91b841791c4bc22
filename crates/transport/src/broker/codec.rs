//! The packets of MQTT 3.1.1 and 5 as one kind: encodes ours, and decodes the broker's.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::{self as mqtt5, v5};
use rumqttc::{Connect, Packet, Publish};

use super::reason::Reason;
use super::{BrokerError, MAX_PACKET};
use crate::listener::codec::cursor::Cursor;
use crate::listener::codec::{Header, ProtocolError};
use crate::settings::MqttVersion;

/// A session of MQTT 5 that never expires, as those of 3.1.1.
const NEVER: u32 = u32::MAX;

/// A packet of the broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Received {
    Connected {
        session_present: bool,
        limits: Limits,
    },
    Refused(Reason),
    Publish(Publish),
    /// The packet id of a message that the broker has taken.
    PubAck(u16),
    /// For each filter the quality of service, or why the broker refuses it.
    SubAck(Vec<Result<u8, Reason>>),
    /// Another packet, which needs no answer.
    Other,
}

/// What the broker's CONNACK allows. A broker of 3.1.1 tells no limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The keep-alive that the broker uses instead of ours; zero is none.
    pub(crate) keep_alive: Option<Duration>,
    /// The most messages that we may send before the first is acknowledged.
    pub(crate) receive_max: u16,
    /// The highest quality of service.
    pub(crate) max_qos: u8,
    /// The largest packet that we may send, in bytes.
    pub(crate) max_packet: usize,
    /// How long the session outlives the connection, if the broker shortens it.
    pub(crate) session_expiry: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            keep_alive: None,
            receive_max: u16::MAX,
            max_qos: 2,
            max_packet: MAX_PACKET,
            session_expiry: None,
        }
    }
}

impl Limits {
    fn of(told: &v5::ConnAckProperties) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let expiry = told.session_expiry_interval.filter(|told| *told != NEVER);
        let max_packet = told
            .max_packet_size
            .and_then(|max| usize::try_from(max).ok());
        Self {
            keep_alive: told.server_keep_alive.map(|told| seconds(told.into())),
            // 0 isn't allowed.
            receive_max: told.receive_max.unwrap_or(u16::MAX).max(1),
            max_qos: told.max_qos.unwrap_or(2),
            max_packet: max_packet.unwrap_or(MAX_PACKET).min(MAX_PACKET),
            session_expiry: expiry.map(seconds),
        }
    }
}

fn unencodable(error: impl std::error::Error) -> BrokerError {
    BrokerError::Broken(error.to_string())
}

/// Writes a CONNECT. With MQTT 5 a session that isn't clean never expires, and the broker may send
/// `receive_max` messages before the first is acknowledged.
pub(crate) fn encode_connect(
    connect: Connect,
    version: MqttVersion,
    receive_max: u16,
    output: &mut BytesMut,
) -> Result<(), BrokerError> {
    match version {
        MqttVersion::V311 => encode(Packet::Connect(connect), version, MAX_PACKET, output),
        MqttVersion::V5 => {
            let mut properties = v5::ConnectProperties::new();
            properties.session_expiry_interval = (!connect.clean_session).then_some(NEVER);
            properties.receive_maximum = Some(receive_max);
            let login = connect.login;
            let packet = v5::Connect {
                keep_alive: connect.keep_alive,
                client_id: connect.client_id,
                clean_start: connect.clean_session,
                properties: Some(properties),
            };
            let login = login.map(|login| v5::Login::new(login.username, login.password));
            let written = v5::Packet::Connect(packet, None, login).write(output, None);
            written.map(|_| ()).map_err(unencodable)
        }
    }
}

/// Writes a packet of at most `max` bytes.
pub(crate) fn encode(
    packet: Packet,
    version: MqttVersion,
    max: usize,
    output: &mut BytesMut,
) -> Result<(), BrokerError> {
    let packet = match (version, packet) {
        (MqttVersion::V311, packet) => {
            return packet.write(output, max).map(|_| ()).map_err(unencodable);
        }
        (MqttVersion::V5, Packet::Publish(publish)) => v5::Packet::Publish(v5::Publish {
            dup: publish.dup,
            qos: qos_5(publish.qos),
            retain: publish.retain,
            topic: Bytes::from(publish.topic),
            pkid: publish.pkid,
            payload: publish.payload,
            properties: None,
        }),
        (MqttVersion::V5, Packet::PubAck(ack)) => {
            v5::Packet::PubAck(v5::PubAck::new(ack.pkid, None))
        }
        (MqttVersion::V5, Packet::Subscribe(subscribe)) => {
            let filters = subscribe.filters.into_iter();
            let filters = filters.map(|filter| v5::Filter::new(filter.path, qos_5(filter.qos)));
            let mut packet = v5::Subscribe::new_many(filters, None);
            packet.pkid = subscribe.pkid;
            v5::Packet::Subscribe(packet)
        }
        (MqttVersion::V5, Packet::PingReq) => v5::Packet::PingReq(v5::PingReq),
        (MqttVersion::V5, Packet::Disconnect) => {
            let reason = v5::DisconnectReasonCode::NormalDisconnection;
            v5::Packet::Disconnect(v5::Disconnect::new(reason))
        }
        (MqttVersion::V5, other) => {
            return Err(BrokerError::Broken(format!("{other:?} isn't sent")));
        }
    };
    packet
        .write(output, u32::try_from(max).ok())
        .map(|_| ())
        .map_err(unencodable)
}

const fn qos_5(qos: QoS) -> mqtt5::QoS {
    match qos {
        QoS::AtMostOnce => mqtt5::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqtt5::QoS::AtLeastOnce,
        QoS::ExactlyOnce => mqtt5::QoS::ExactlyOnce,
    }
}

const fn qos_4(qos: mqtt5::QoS) -> QoS {
    match qos {
        mqtt5::QoS::AtMostOnce => QoS::AtMostOnce,
        mqtt5::QoS::AtLeastOnce => QoS::AtLeastOnce,
        mqtt5::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// Takes the next packet from the front of `input`. If it isn't complete, makes room for the rest of it,
/// and returns `None`. A message that the broker refuses, and its DISCONNECT, are errors.
pub(crate) fn decode(
    input: &mut BytesMut,
    version: MqttVersion,
) -> Result<Option<Received>, BrokerError> {
    let Some(header) = Header::decode(input)? else {
        return Ok(None);
    };
    if input.len() < header.length {
        input.reserve(header.length - input.len());
        return Ok(None);
    }
    let packet = input.split_to(header.length);
    let body = Cursor::new(packet.get(header.body_at..).unwrap_or_default());
    let received = match header.first >> 4 {
        2 => connected(body, &packet)?,
        3 => Received::Publish(publish(packet, version)?),
        4 => puback(body)?,
        9 => suback(body, version)?,
        14 => return Err(BrokerError::Disconnected(reason_of(body))),
        // Of QoS 2, of unsubscriptions, and the answer to a ping.
        5 | 6 | 7 | 11 | 13 => Received::Other,
        _ => return Err(ProtocolError::Malformed("a broker doesn't send its type").into()),
    };
    Ok(Some(received))
}

fn connected(mut body: Cursor<'_>, packet: &BytesMut) -> Result<Received, BrokerError> {
    let session_present = body.u8()? & 1 == 1;
    let code = body.u8()?;
    if code != 0 {
        return Ok(Received::Refused(Reason(code)));
    }
    let mut limits = Limits::default();
    // A CONNACK of 3.1.1 ends here.
    if !body.is_empty()
        && let v5::Packet::ConnAck(answer) = read_5(packet.clone())?
        && let Some(told) = answer.properties
    {
        limits = Limits::of(&told);
    }
    Ok(Received::Connected {
        session_present,
        limits,
    })
}

/// Reads a complete packet.
fn read_5(mut packet: BytesMut) -> Result<v5::Packet, BrokerError> {
    v5::Packet::read(&mut packet, None)
        .map_err(|error| BrokerError::Broken(format!("a packet can't be decoded: {error}")))
}

fn publish(mut packet: BytesMut, version: MqttVersion) -> Result<Publish, BrokerError> {
    match version {
        MqttVersion::V311 => match Packet::read(&mut packet, MAX_PACKET) {
            Ok(Packet::Publish(publish)) => Ok(publish),
            Ok(other) => Err(BrokerError::Broken(format!("{other:?} isn't a message"))),
            Err(error) => Err(BrokerError::Broken(format!(
                "a packet can't be decoded: {error}"
            ))),
        },
        MqttVersion::V5 => {
            let v5::Packet::Publish(publish) = read_5(packet)? else {
                return Err(ProtocolError::Malformed("it isn't a message").into());
            };
            let topic = String::from_utf8(publish.topic.into())
                .map_err(|_| ProtocolError::Malformed("bad UTF-8"))?;
            Ok(Publish {
                dup: publish.dup,
                qos: qos_4(publish.qos),
                retain: publish.retain,
                topic,
                pkid: publish.pkid,
                payload: publish.payload,
            })
        }
    }
}

/// The reason code, which a broker may leave out if it is 0.
fn reason_of(body: Cursor<'_>) -> Reason {
    Reason(body.rest().first().copied().unwrap_or(0))
}

fn puback(mut body: Cursor<'_>) -> Result<Received, BrokerError> {
    let packet_id = body.packet_id()?;
    let reason = reason_of(body);
    if reason.is_failure() {
        return Err(BrokerError::Message(reason));
    }
    Ok(Received::PubAck(packet_id))
}

fn suback(mut body: Cursor<'_>, version: MqttVersion) -> Result<Received, BrokerError> {
    body.packet_id()?;
    if version == MqttVersion::V5 {
        let properties = body.variable_int()?;
        body.take(properties)?;
    }
    let codes = body.rest().iter().map(|code| {
        let reason = Reason(*code);
        if reason.is_failure() {
            Err(reason)
        } else {
            Ok(*code)
        }
    });
    Ok(Received::SubAck(codes.collect()))
}
