//! The decoder, compared with the client library's, and with arbitrary and damaged bytes.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rumqttc::mqttbytes::{QoS as Q4, v4};
use rumqttc::v5::mqttbytes::{QoS as Q5, v5};

use super::acl::Permissions;
use super::codec::encode::{self, Accepted};
use super::codec::{Connect, ConnectError, Header, PacketBuffer, ProtocolError, Version};
use super::connection::{Unreleased, handle_packets};
use super::handshake::refusal;
use super::limits::MemoryLimits;
use super::reason::{ConnectRefusal, ConnectionEnd, DisconnectReason};
use crate::source::Sender;

const MAX_PACKET: usize = 1 << 20;

/// A message: its topic, its payload, its packet id.
type Message = (String, Vec<u8>, u16);

/// What the decoder has returned for a stream.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    messages: Vec<Message>,
    end: Option<ConnectionEnd>,
    answers: BytesMut,
    left: usize,
}

/// Decodes a stream that arrives in pieces of these sizes, over and over.
fn decode(bytes: &[u8], version: Version, pieces: &[usize]) -> Decoded {
    let limits = MemoryLimits::new(MAX_PACKET);
    let mut buffer = PacketBuffer::new(version, MAX_PACKET, Bytes::new());
    let mut decoded = Decoded {
        messages: Vec::new(),
        end: None,
        answers: BytesMut::new(),
        left: 0,
    };
    let mut unreleased = Unreleased::new();
    let sender = Sender {
        user: None,
        client_id: String::new(),
    };
    let permissions = Permissions::new(None, sender);
    let mut rest = bytes;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() && decoded.end.is_none() {
        let (piece, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        rest = later;
        buffer.append(piece);
        let size = buffer.bytes().len();
        let count = (size / 5 + 1).min(20_000);
        let reservation = limits.try_reserve(size, count).unwrap();
        let answers = &mut decoded.answers;
        let handled = handle_packets(1, &mut buffer, &permissions, &mut unreleased, answers);
        decoded.end = handled.end;
        let left = buffer.remaining().len();
        if decoded.end.is_none() {
            assert_eq!(handled.completed, left < size);
            let header = buffer.next_header().unwrap();
            assert!(
                header.is_none_or(|header| header.length > left || buffer.is_oversize(header)),
                "complete and left"
            );
        }
        let batch = handled.messages.finish(reservation);
        for delivery in batch.into_iter().flat_map(|batch| batch.deliveries) {
            let id = delivery.ticket.packet_id;
            assert_eq!(delivery.qos > 0, id != 0);
            assert_eq!(delivery.qos == 2, delivery.ticket.exactly_once);
            let payload = delivery.payload.to_vec();
            decoded.messages.push((delivery.topic, payload, id));
        }
        buffer.compact();
    }
    decoded.left = buffer.remaining().len();
    decoded
}

fn read_connect(bytes: &[u8]) -> Result<Connect, ConnectError> {
    let header = Header::decode(bytes)?.ok_or(ProtocolError::Malformed("cut"))?;
    let body = bytes.get(header.body_at..header.length);
    Connect::decode(header, body.ok_or(ProtocolError::Malformed("cut"))?)
}

fn v4_publish(topic: &str, payload: &[u8], id: u16) -> Vec<u8> {
    let qos = if id == 0 {
        Q4::AtMostOnce
    } else {
        Q4::AtLeastOnce
    };
    let mut publish = v4::Publish::new(topic, qos, payload);
    publish.pkid = id;
    let mut out = BytesMut::new();
    publish.write(&mut out).unwrap();
    out.to_vec()
}

fn v5_publish(topic: &str, payload: &[u8], id: u16, alias: Option<u16>) -> Vec<u8> {
    let qos = if id == 0 {
        Q5::AtMostOnce
    } else {
        Q5::AtLeastOnce
    };
    let properties = v5::PublishProperties {
        topic_alias: alias,
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(9),
        response_topic: Some("answers".into()),
        correlation_data: Some(Bytes::from_static(b"x")),
        user_properties: vec![("a".into(), "b".into()), ("a".into(), "c".into())],
        content_type: Some("json".into()),
        ..Default::default()
    };
    let mut publish = v5::Publish::new(topic, qos, payload.to_vec(), Some(properties));
    publish.pkid = id;
    let mut out = BytesMut::new();
    publish.write(&mut out).unwrap();
    out.to_vec()
}

fn publish(version: Version, (topic, payload, id): &Message) -> Vec<u8> {
    match version {
        Version::V4 => v4_publish(topic, payload, *id),
        Version::V5 => v5_publish(topic, payload, *id, None),
    }
}

fn v4_connect() -> Vec<u8> {
    let mut connect = v4::Connect::new("device");
    connect.set_login("ann", "right");
    connect.last_will = Some(v4::LastWill::new("wills", "gone", Q4::ExactlyOnce, true));
    let mut out = BytesMut::new();
    connect.write(&mut out).unwrap();
    out.to_vec()
}

fn v5_connect(will: Q5, method: Option<&str>) -> Vec<u8> {
    let connect = v5::Connect {
        keep_alive: 7,
        client_id: "device".into(),
        clean_start: false,
        properties: Some(v5::ConnectProperties {
            session_expiry_interval: Some(60),
            receive_maximum: Some(10),
            max_packet_size: Some(1_000),
            topic_alias_max: Some(3),
            request_response_info: Some(0),
            request_problem_info: Some(1),
            user_properties: vec![("a".into(), "b".into())],
            authentication_method: method.map(Into::into),
            authentication_data: None,
        }),
    };
    let will = v5::LastWill::new("wills", "gone", will, true, None);
    let login = v5::Login::new("ann", "right");
    let mut out = BytesMut::new();
    connect.write(&Some(will), &Some(login), &mut out).unwrap();
    out.to_vec()
}

#[test]
fn connects_of_the_client_library_are_decoded() {
    let read = read_connect(&v4_connect()).unwrap();
    assert_eq!((read.version, read.will_qos), (Version::V4, Some(2)));
    assert_eq!(refusal(&read), None, "3.1.1 has no way to say it");
    assert_eq!((read.keep_alive, read.clean), (10, true));
    assert_eq!(read.password.as_deref(), Some(b"right".as_slice()));

    let read = read_connect(&v5_connect(Q5::AtLeastOnce, None)).unwrap();
    assert_eq!((read.version, read.keep_alive), (Version::V5, 7));
    assert_eq!((read.client_id.as_str(), read.clean), ("device", false));
    assert_eq!(read.user.as_deref(), Some("ann"));
    assert_eq!(read.properties.session_expiry, 60);
    assert_eq!(read.properties.maximum_packet, Some(1_000));
    assert_eq!(refusal(&read), None);

    let refusal_of = |bytes: &[u8]| refusal(&read_connect(bytes).unwrap());
    let with_will = v5_connect(Q5::ExactlyOnce, None);
    assert_eq!(refusal_of(&with_will), Some(ConnectRefusal::WillQoS));
    let with_method = v5_connect(Q5::AtMostOnce, Some("SCRAM"));
    assert_eq!(refusal_of(&with_method), Some(ConnectRefusal::Method));
}

#[test]
fn unsupported_versions_are_refused_in_the_closest_supported_version() {
    for (level, name, answer) in [
        (3, "MQIsdp", Version::V4),
        (3, "MQTT", Version::V4),
        (0x84, "MQTT", Version::V4),
        (6, "MQTT", Version::V5),
        (0x85, "MQTT", Version::V5),
    ] {
        let mut body = vec![0, u8::try_from(name.len()).unwrap()];
        body.extend(name.bytes());
        body.extend([level, 2, 0, 0, 0, 1, b'a']);
        let mut bytes = vec![0x10, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        assert_eq!(
            read_connect(&bytes),
            Err(ConnectError::Version(answer)),
            "{level}"
        );
    }
}

#[test]
fn bad_connects_are_malformed() {
    // Protocol name, level, flags, keep-alive, client id; no more.
    let with = |flags: u8, rest: &[u8]| {
        let mut bytes = b"\x10\0\0\x04MQTT\x04".to_vec();
        bytes.push(flags);
        bytes.extend([0, 0]);
        bytes.extend(rest);
        bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
        read_connect(&bytes)
    };
    assert!(with(2, b"\0\x01a").is_ok());
    for (flags, rest) in [
        (3, b"\0\x01a".as_slice()),
        (2 | 0x08, b"\0\x01a"),
        (2 | 0x20, b"\0\x01a"),
        (2 | 0x1c, b"\0\x01a\0\x01t\0\0"),
        (2 | 0x40, b"\0\x01a\0\x01p"),
        (2 | 0x80, b"\0\x01a"),
        (2, b"\0\x01a\0"),
        (2, b"\0\x02a"),
        (2, b"\0\x01\0"),
        (2, b"\0\x01\xff"),
        (2, b"\0\x03\xed\xa0\x80"),
    ] {
        let read = with(flags, rest);
        let malformed = matches!(
            read,
            Err(ConnectError::Protocol(ProtocolError::Malformed(_)))
        );
        assert!(malformed, "{flags:#x} {rest:?}: {read:?}");
    }
}

#[test]
fn bad_packets_end_the_connection_after_the_messages_before_them() {
    use Version::{V4, V5};
    let good = v4_publish("t", b"x", 1);
    let too_large = ProtocolError::TooLarge {
        size: MAX_PACKET + 1,
        max: MAX_PACKET,
    };
    // A header of four bytes, and 2^20 - 3 more.
    let large_header = |first| [first, 0xfd, 0xff, 0x3f];
    for (version, bytes, error) in [
        (V4, b"\x36\x06\0\x01t\0\x01x".as_slice(), "QoS 3"),
        (V4, b"\x62\x02\0\0", "packet id is 0"),
        (V4, b"\x62\x03\0\x01\0", "too long"),
        (V4, b"\x60\x02\0\x01", "reserved"),
        (V5, b"\x34\x07\0\x01t\0\x01\0x", "QoS 2"),
        (V5, b"\x62\x02\0\x01", "QoS 2"),
        (V4, b"\x38\x04\0\x01tx", "QoS 0 and sent again"),
        (V4, b"\x32\x06\0\x01t\0\0x", "packet id is 0"),
        (V4, b"\x30\x02\0\0", "empty topic"),
        (V4, b"\x30\x01\0", "ends too early"),
        (V4, b"\x30\x04\0\x03tx", "ends too early"),
        (V4, b"\x30\x03\0\x01#", "wildcards"),
        (V4, b"\x30\x03\0\x01+", "wildcards"),
        (V4, b"\x30\x03\0\x01\0", "NUL"),
        (V4, b"\x30\x03\0\x01\xff", "UTF-8"),
        (V4, b"\x30\xff\xff\xff\xff\x01", "more than four bytes"),
        (V4, b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", "second CONNECT"),
        (V4, b"\x80\x06\0\x01\0\x01a\0", "reserved"),
        (V4, b"\x82\x06\0\0\0\x01a\0", "packet id is 0"),
        (V4, b"\x82\x02\0\x01", "without a filter"),
        (V4, b"\x82\x06\0\x01\0\x01a\x03", "options"),
        (V4, b"\xc1\0", "reserved"),
        (V4, b"\0\0", "no known type"),
        (V4, b"\x20\x02\0\0", "only a server sends"),
        (V4, b"\x40\x02\0\x01", "only a server sends"),
        (V5, b"\xf0\0", "only a server sends"),
        (V5, b"\x30\x04\0\x01t\x05", "ends too early"),
        (V5, b"\x30\x06\0\x01t\x02\x01\x02", "neither 0 nor 1"),
        (V5, b"\x30\x08\0\x01t\x04\x01\0\x01\0", "twice"),
        (V5, b"\x30\x06\0\x01t\x02\x0b\x01", "can't stand there"),
        (V5, b"\x30\x07\0\x01t\x03\x23\0\x01", "alias"),
        (V5, b"\x30\x06\0\0\x03\x23\0\x01", "alias"),
    ] {
        let good = match version {
            V4 => good.clone(),
            V5 => v5_publish("t", b"x", 1, None),
        };
        let decoded = decode(&[&good, bytes, &good].concat(), version, &[1_000]);
        assert_eq!(decoded.messages.len(), 1, "{bytes:?}");
        let Some(ConnectionEnd::ByListener(reason)) = decoded.end else {
            panic!("{bytes:?}: {:?}", decoded.end);
        };
        assert!(reason.to_string().contains(error), "{bytes:?}: {reason}");
    }
    let decoded = decode(&large_header(0x82), V4, &[9]);
    assert_eq!(decoded.end, Some(too_large.into()));
    // A PUBLISH isn't decoded, but is no error.
    let decoded = decode(&large_header(0x30), V4, &[9]);
    assert_eq!((decoded.end, decoded.left), (None, 4));
}

#[test]
fn pings_and_subscriptions_are_answered() {
    let ask = b"\x82\x0a\x12\x34\0\x01a\x01\0\x01b\x02\xa2\x05\0\x02\0\x01a\xc0\0\xe0\0\xff";
    let decoded = decode(ask, Version::V4, &[3]);
    assert_eq!(decoded.end, Some(ConnectionEnd::ByClient));
    let answers = b"\x90\x04\x12\x34\x80\x80\xb0\x02\0\x02\xd0\0";
    assert_eq!(decoded.answers[..], answers[..]);
    let ask = b"\x82\x0b\x12\x34\0\0\x01a\x01\0\x01b\x02\xa2\x06\0\x02\0\0\x01a\xe0\x02\0\0";
    let decoded = decode(ask, Version::V5, &[100]);
    assert_eq!(decoded.end, Some(ConnectionEnd::ByClient));
    let answers = b"\x90\x05\x12\x34\0\x87\x87\xb0\x04\0\x02\0\x11";
    assert_eq!(decoded.answers[..], answers[..]);
}

#[test]
fn answers_are_decoded_by_the_client_library() {
    let mut stream = BytesMut::new();
    let accepted = Accepted {
        assigned_id: Some("rigline-1"),
        wants_session: true,
    };
    encode::connect_accepted(&mut stream, Version::V5, accepted);
    encode::connect_refused(&mut stream, Version::V5, ConnectRefusal::Login, None);
    encode::connect_refused(&mut stream, Version::V5, ConnectRefusal::Login, Some(20));
    encode::publish_ack(&mut stream, 7);
    encode::publish_ack(&mut stream, 0x1234);
    encode::subscribe_refused(&mut stream, Version::V5, 3, 200);
    encode::unsubscribe_ack(&mut stream, Version::V5, 4, 2);
    let reason = DisconnectReason::from(ProtocolError::QoS2);
    encode::disconnect(&mut stream, Version::V5, &reason, None);
    let mut next = || v5::Packet::read(&mut stream, None).unwrap();

    let v5::Packet::ConnAck(accepted) = next() else {
        panic!("no CONNACK");
    };
    let properties = accepted.properties.unwrap();
    assert!(!accepted.session_present && accepted.code == v5::ConnectReturnCode::Success);
    assert_eq!(properties.max_qos, Some(1));
    assert_eq!(properties.session_expiry_interval, Some(0));
    assert_eq!(properties.max_packet_size, None);
    assert_eq!(properties.receive_max, Some(1_000));
    assert_eq!(
        properties.assigned_client_identifier.as_deref(),
        Some("rigline-1")
    );
    assert_eq!(properties.wildcard_subscription_available, Some(0));
    assert_eq!(properties.subscription_identifiers_available, Some(0));
    assert_eq!(properties.shared_subscription_available, Some(0));
    for has_reason in [true, false] {
        let v5::Packet::ConnAck(refused) = next() else {
            panic!("no CONNACK");
        };
        assert_eq!(refused.code, v5::ConnectReturnCode::BadUserNamePassword);
        let reason = refused.properties.and_then(|given| given.reason_string);
        assert_eq!(reason.is_some(), has_reason);
    }
    for id in [7, 0x1234] {
        assert!(matches!(next(), v5::Packet::PubAck(ack) if ack.pkid == id));
    }
    let v5::Packet::SubAck(refused) = next() else {
        panic!("no SUBACK");
    };
    assert_eq!((refused.pkid, refused.return_codes.len()), (3, 200));
    assert!(matches!(next(), v5::Packet::UnsubAck(ack) if ack.pkid == 4 && ack.reasons.len() == 2));
    let v5::Packet::Disconnect(disconnect) = next() else {
        panic!("no DISCONNECT");
    };
    assert_eq!(
        disconnect.reason_code,
        v5::DisconnectReasonCode::QoSNotSupported
    );
    let reason = disconnect.properties.unwrap().reason_string.unwrap();
    assert!(reason.contains("publish with QoS 1"), "{reason}");
    assert!(stream.is_empty());
}

#[test]
fn a_release_is_completed_unless_its_message_is_not_safe_yet() {
    let decoded = decode(b"\x62\x02\x12\x34", Version::V4, &[4]);
    assert_eq!(decoded.end, None);
    assert_eq!(decoded.answers[..], b"\x70\x02\x12\x34"[..]);
    let publish = b"\x34\x06\0\x01t\0\x01x";
    let again = [publish.as_slice(), publish].concat();
    let decoded = decode(&again, Version::V4, &[100]);
    assert_eq!(decoded.messages.len(), 1);
    assert_eq!(decoded.answers, BytesMut::new());
    let early = [publish.as_slice(), b"\x62\x02\0\x01"].concat();
    let end = ProtocolError::NotAllowed("a PUBREL before its PUBREC");
    assert_eq!(decode(&early, Version::V4, &[100]).end, Some(end.into()));
}

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V4), Just(Version::V5)]
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let message = (
        "[a-zä/]{1,40}",
        proptest::collection::vec(any::<u8>(), 0..200),
        any::<u16>(),
    );
    proptest::collection::vec(message, 1..30)
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        Just(vec![100_000]),
        proptest::collection::vec(1_usize..60, 1..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn messages_of_the_client_library_are_decoded(
        version in versions(), messages in messages(), pieces in pieces()
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|one| publish(version, one)).collect();
        let decoded = decode(&bytes, version, &pieces);
        prop_assert_eq!(decoded, Decoded { messages, end: None, answers: BytesMut::new(), left: 0 });
    }

    #[test]
    fn arbitrary_bytes_do_not_panic_and_decode_alike_in_pieces(
        version in versions(), bytes in proptest::collection::vec(any::<u8>(), 0..300), pieces in pieces()
    ) {
        let whole = decode(&bytes, version, &[bytes.len().max(1)]);
        let piecewise = decode(&bytes, version, &pieces);
        prop_assert_eq!(&whole.messages, &piecewise.messages);
        prop_assert_eq!(&whole.end, &piecewise.end);
        let _ = read_connect(&bytes);
    }

    #[test]
    fn damaged_packets_do_not_panic_and_decode_alike_in_pieces(
        version in versions(),
        messages in messages(),
        pieces in pieces(),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let connects = [v4_connect(), v5_connect(Q5::AtLeastOnce, Some("m"))];
        let mut bytes: Vec<u8> = messages.iter().flat_map(|one| publish(version, one)).collect();
        bytes.extend(b"\x82\x0a\x12\x34\0\x01a\x01\0\x01b\x02\xa2\x05\0\x02\0\x01a\xc0\0");
        for mut bytes in connects.into_iter().chain([bytes]) {
            for (place, byte) in &damages {
                let place = place.index(bytes.len());
                bytes[place] ^= byte;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            let whole = decode(&bytes, version, &[bytes.len()]);
            let piecewise = decode(&bytes, version, &pieces);
            prop_assert_eq!(whole.messages, piecewise.messages);
            prop_assert_eq!(whole.end, piecewise.end);
            let _ = read_connect(&bytes);
        }
    }
}
