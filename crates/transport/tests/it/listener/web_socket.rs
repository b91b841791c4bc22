//! MQTT over WebSocket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use model::dead_letter::PayloadDigest;
use transport::{ListenSettings, Listener, Listening};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket, client};

use super::raw::{Raw, connect, puback, publish};
use super::server::{ack, listen, receive, settings};
use crate::harness::TIMEOUT;

async fn listen_ws(change: impl FnOnce(&mut ListenSettings)) -> (Listener, Listening, SocketAddr) {
    let mut settings = settings();
    settings.sockets.mqtt_ws_listen = Some(settings.mqtt_listen);
    change(&mut settings);
    let (listener, listening) = listen(&settings).await;
    let address = listener.web_socket_addr().unwrap();
    (listener, listening, address)
}

/// The status of the answer, or the stream after the handshake.
fn upgrade(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<WebSocket<TcpStream>, u16> {
    let mut request = format!("ws://{address}/mqtt")
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(*name, value);
    }
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    match client(request, stream) {
        Ok((socket, response)) => {
            assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
            Ok(socket)
        }
        Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

const MQTT: (&str, &str) = ("sec-websocket-protocol", "mqtt");

fn binary(bytes: &[u8]) -> Message {
    Message::Binary(bytes.to_vec().into())
}

fn expect(socket: &mut WebSocket<TcpStream>, bytes: &[u8]) {
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        let message = socket.read().unwrap();
        assert!(message.is_binary(), "{message:?}");
        received.extend(message.into_data());
    }
    assert_eq!(received, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_publish_in_both_versions_in_frames_of_any_size() {
    let (_listener, mut listening, address) =
        listen_ws(|settings| settings.mqtt_max_packet = 2_000).await;
    let payload: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for (level, before) in [(4, b"".as_slice()), (5, b"\0")] {
        let offered = ("sec-websocket-protocol", "mqttv3.1, mqtt");
        let mut socket = upgrade(address, &[offered]).unwrap();
        let packet = connect(level, "page", 0);
        let (first, rest) = packet.split_at(3);
        socket.send(binary(first)).unwrap();
        socket
            .send(Message::Ping(b"are you there".as_slice().into()))
            .unwrap();
        socket.send(binary(rest)).unwrap();
        let pong = socket.read().unwrap();
        assert_eq!(pong, Message::Pong(b"are you there".as_slice().into()));
        let connack = socket.read().unwrap().into_data();
        assert_eq!((connack[0], connack[3]), (0x20, 0));
        let with = |payload: &[u8]| [before, payload].concat();
        let packets = [
            publish("t", 1, &with(b"small")),
            publish("large", 2, &with(&payload)),
            publish("t", 3, &with(b"behind")),
        ];
        // Packets begin and end anywhere in frames.
        for frame in packets.concat().chunks(70_001) {
            socket.send(binary(frame)).unwrap();
        }
        for byte in publish("t", 4, &with(b"a byte a frame")) {
            socket.send(binary(&[byte])).unwrap();
        }
        let deliveries = receive(&mut listening, 4).await;
        assert_eq!(deliveries[1].truncated, Some(PayloadDigest::of(&payload)));
        assert_eq!(deliveries[2].payload, b"behind"[..]);
        assert_eq!(deliveries[3].payload, b"a byte a frame"[..]);
        ack(&listening, deliveries);
        expect(&mut socket, &(1..=4).flat_map(puback).collect::<Vec<_>>());
        socket.close(None).unwrap();
        let closed = socket.read().unwrap();
        assert!(closed.is_close(), "{closed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_ends_the_connection_with_the_reason() {
    let (_listener, _listening, address) = listen_ws(|_| {}).await;
    let open = || {
        let mut socket = upgrade(address, &[MQTT]).unwrap();
        socket.send(binary(&connect(5, "page", 0))).unwrap();
        assert!(socket.read().unwrap().is_binary());
        socket
    };
    let ended = |mut socket: WebSocket<TcpStream>| {
        let disconnect = socket.read().unwrap().into_data();
        assert_eq!((disconnect[0], disconnect[2]), (0xe0, 0x82));
        match socket.read().unwrap() {
            Message::Close(Some(frame)) => frame.code,
            other => panic!("{other:?}"),
        }
    };
    let mut text = open();
    text.send(Message::Text("hello".into())).unwrap();
    assert_eq!(ended(text), CloseCode::Unsupported);
    for frame in [
        b"\x82\x01x".as_slice(),
        b"\xc2\x80\0\0\0\0",
        b"\x80\x80\0\0\0\0",
        b"\x83\x80\0\0\0\0",
        b"\x09\x80\0\0\0\0",
        b"\x89\xfe\0\x7e\0\0\0\0",
        b"\x02\x80\0\0\0\0\x82\x80\0\0\0\0",
    ] {
        let mut socket = open();
        socket.get_mut().write_all(frame).unwrap();
        assert_eq!(ended(socket), CloseCode::Protocol, "{frame:x?}");
    }
    // Before the login.
    let mut socket = upgrade(address, &[MQTT]).unwrap();
    socket.send(Message::Text("hello".into())).unwrap();
    assert!(socket.read().is_err());
    // An error of MQTT.
    let mut socket = open();
    socket.send(binary(b"\xf0\0")).unwrap();
    assert_eq!(ended(socket), CloseCode::Normal);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_without_the_subprotocol_or_of_other_origins_are_refused() {
    let (_listener, _listening, address) = listen_ws(|_| {}).await;
    assert_eq!(upgrade(address, &[]).unwrap_err(), 400);
    let other = ("sec-websocket-protocol", "amqp");
    assert_eq!(upgrade(address, &[other]).unwrap_err(), 400);
    let origin = |origin| upgrade(address, &[MQTT, ("origin", origin)]).map(drop);
    assert_eq!(origin("https://elsewhere.example"), Err(403));
    assert_eq!(origin("http://localhost:8050"), Ok(()));
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\n\r\n",
    ] {
        let mut raw = Raw::open(address);
        raw.send(request.as_bytes());
        let mut answer = String::new();
        raw.0.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
    }
    let mut raw = Raw::open(address);
    raw.send(&[b'x'; 9_000]);
    raw.0.read_exact(&mut [0; 12]).unwrap();

    let listed = |settings: &mut ListenSettings| {
        settings.sockets.mqtt_ws_origins = vec!["https://plant.example/".to_owned()];
    };
    let (_listener, _listening, address) = listen_ws(listed).await;
    let origin = |origin| upgrade(address, &[MQTT, ("origin", origin)]).map(drop);
    assert_eq!(origin("https://plant.example"), Ok(()));
    assert_eq!(origin("http://localhost"), Err(403));
}
