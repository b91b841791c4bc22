//! Clients that break the protocol, while others are served.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::raw::{Raw, connect, puback, publish};
use super::server::{Server, settings};
use crate::harness::TIMEOUT;

/// Another client can still publish.
async fn others_are_served(server: &Server) {
    let before = server.messages(0).await.len();
    let mut raw = Raw::v4(server.address, "good");
    raw.send(&publish("t", 7, b"x"));
    raw.expect(&puback(7));
    assert!(server.messages(before + 1).await.len() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_packets_end_their_connection_and_no_other() {
    let server = Server::start(&settings()).await;
    let bystander = Raw::v4(server.address, "bystander");
    for bytes in [
        b"\x36\x06\0\x01t\0\x01x".as_slice(),
        b"\x32\x06\0\x01t\0\0x",
        b"\x30\x03\0\x01\xff",
        b"\x30\x03\0\x01#",
        b"\x30\x02\0\0",
        b"\x30\x01\0",
        b"\x30\xff\xff\xff\xff\xff\xff",
        b"\x50\x02\0\x01",
        &connect(4, "bad", 0),
    ] {
        let mut raw = Raw::v4(server.address, "bad");
        raw.send(bytes);
        raw.closed();
    }
    for (bytes, code) in [
        (b"\x36\x07\0\x01t\0\x01\0x".as_slice(), 0x81),
        (b"\x34\x07\0\x01t\0\x01\0x", 0x9b),
        (b"\x30\x07\0\x01t\x03\x23\0\x01", 0x94),
        (b"\x30\x03\0\x01\xff", 0x81),
        (b"\x62\x02\0\x01", 0x82),
        (b"\xf0\0", 0x82),
        (b"\x82\x80\x80\x80\x01", 0x95),
        (&connect(5, "bad", 0), 0x82),
    ] {
        let mut raw = Raw::v5(server.address, "bad", 0);
        raw.send(bytes);
        raw.disconnected(code);
    }
    others_are_served(&server).await;
    assert_eq!(server.messages(1).await.len(), 1);
    let mut bystander = bystander;
    bystander.send(b"\xc0\0");
    bystander.expect(b"\xd0\0");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_disturb_no_other_client() {
    let server = Server::start(&settings()).await;
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..240 {
        let mut noise = connect(4 + round % 2, "noise", 0);
        if round % 3 == 0 {
            noise.clear();
        }
        noise.extend(publish("t", 0, b""));
        let length = random.usize(0..3_000);
        noise.extend(std::iter::repeat_with(|| random.u8(..)).take(length));
        let mut raw = Raw::open(server.address);
        // The listener may have closed the connection already.
        let _ = raw.0.write_all(&noise);
    }
    others_are_served(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_and_versions_are_refused() {
    let server = Server::start(&settings()).await;
    for (bytes, answer) in [
        (connect(3, "old", 0), b"\x20\x02\0\x01".as_slice()),
        (
            b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01a".to_vec(),
            b"\x20\x02\0\x01",
        ),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), b""),
        (b"\x16\x03\x01\x02\0\x01\0".to_vec(), b""),
        (b"\xc0\0".to_vec(), b""),
        (b"\x10\x0d\0\x04MQTX\x04\x02\0\0\0\x01a".to_vec(), b""),
        // No client id, and a session that should last.
        (
            b"\x10\x0c\0\x04MQTT\x04\0\0\0\0\0".to_vec(),
            b"\x20\x02\0\x02",
        ),
    ] {
        let mut raw = Raw::open(server.address);
        raw.send(&bytes);
        raw.expect(answer);
        raw.closed();
    }
    let mut raw = Raw::open(server.address);
    raw.send(&connect(6, "new", 0));
    let (first, body) = raw.packet();
    assert_eq!((first, &body[..2]), (0x20, [0, 0x84].as_slice()));
    raw.closed();
    // Without a client id, but with a clean session.
    Raw::v4(server.address, "");
    let mut raw = Raw::open(server.address);
    raw.send(&connect(5, "", 0));
    let (_, body) = raw.packet();
    assert!(
        String::from_utf8_lossy(&body).contains("rigline-"),
        "assigned"
    );
    others_are_served(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_refused_and_the_connection_stays_open() {
    let server = Server::start(&settings()).await;
    let mut raw = Raw::v4(server.address, "reader");
    raw.send(b"\x82\x0a\x12\x34\0\x01a\x01\0\x01b\x02\xa2\x05\0\x02\0\x01a\xc0\0");
    raw.expect(b"\x90\x04\x12\x34\x80\x80\xb0\x02\0\x02\xd0\0");
    raw.send(b"\xe0\0");
    raw.closed();
    others_are_served(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_in_pieces_and_with_the_connect_are_read() {
    let server = Server::start(&settings()).await;
    let mut raw = Raw::open(server.address);
    let large = vec![b'x'; 300_000];
    let mut bytes = connect(4, "slow", 0);
    bytes.extend(publish("small", 1, b"y"));
    for byte in bytes {
        raw.send(&[byte]);
    }
    raw.expect(&[0x20, 2, 0, 0]);
    raw.expect(&puback(1));
    let mut bytes = publish("large", 2, &large);
    bytes.extend(publish("small", 3, b"z"));
    for piece in bytes.chunks(70_001) {
        raw.send(piece);
    }
    raw.expect(&[puback(2), puback(3)].concat());
    // All at once, and the rest of the next one a little later.
    let mut raw = Raw::open(server.address);
    let mut bytes = connect(4, "quick", 0);
    bytes.extend(publish("quick", 0, &[b'q'; 900]));
    bytes.extend(publish("quick", 9, &[b'r'; 5_000]));
    let (now, later) = bytes.split_at(2_000);
    raw.send(now);
    raw.expect(&[0x20, 2, 0, 0]);
    raw.send(later);
    raw.expect(&puback(9));
    let sizes: Vec<_> = server.messages(5).await.iter().map(|m| m.1.len()).collect();
    assert_eq!(sizes, [1, 300_000, 1, 900, 5_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_are_too_large_end_the_connection_before_they_are_read() {
    let mut settings = settings();
    settings.mqtt_max_packet = 2_000;
    let server = Server::start(&settings).await;
    let mut raw = Raw::v4(server.address, "large");
    raw.send(&publish("t", 1, &[b'x'; 1_990]));
    raw.expect(&puback(1));
    // A SUBSCRIBE of 2,001 bytes; then, before a login, a CONNECT and a PUBLISH.
    raw.send(b"\x82\xce\x0f");
    raw.closed();
    for first in [0x10, 0x30] {
        let mut raw = Raw::open(server.address);
        raw.send(&[first, 0xce, 0x0f]);
        raw.closed();
    }
    let mut raw = Raw::v5(server.address, "large", 0);
    raw.send(b"\x82\xce\x0f");
    raw.disconnected(0x95);
    others_are_served(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_client_takes_over_the_client_id() {
    let server = Server::start(&settings()).await;
    let first = Raw::v5(server.address, "twin", 0);
    let second = Raw::v4(server.address, "twin");
    first.disconnected(0x8e);
    let mut third = Raw::v4(server.address, "twin");
    second.closed();
    third.send(&publish("t", 1, b"x"));
    third.expect(&puback(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_are_closed_at_once() {
    let mut settings = settings();
    settings.mqtt_max_connections = 2;
    settings.mqtt_max_connections_per_address = Some(2);
    let server = Server::start(&settings).await;
    let (first, _second) = (Raw::v4(server.address, "a"), Raw::v4(server.address, "b"));
    Raw::open(server.address).closed();
    first.hang_up();
    let started = Instant::now();
    loop {
        // The end of the first one may not have been noticed yet.
        let mut raw = Raw::open(server.address);
        let sent = raw.0.write_all(&connect(4, "c", 0));
        let mut answer = [0; 4];
        if sent.is_ok() && std::io::Read::read_exact(&mut raw.0, &mut answer).is_ok() {
            break;
        }
        assert!(
            started.elapsed() < TIMEOUT,
            "no other connection is accepted"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_hold_all_connections() {
    let mut settings = settings();
    settings.mqtt_max_connections = 5;
    let server = Server::start(&settings).await;
    // Half of all, rounded up.
    let names = ["a", "b", "c"];
    let mut held = names.map(|name| Raw::v4(server.address, name));
    Raw::open(server.address).closed();
    let mut other = Raw::open_from([127, 0, 0, 2], server.address);
    other.send(&connect(4, "other", 0));
    other.expect(&[0x20, 2, 0, 0]);
    for raw in held.iter_mut().chain([&mut other]) {
        raw.send(&publish("t", 1, b"x"));
        raw.expect(&puback(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_logs_in_gives_way_to_another_address() {
    let mut settings = settings();
    settings.mqtt_max_connections = 8;
    settings.mqtt_max_connections_per_address = Some(6);
    let server = Server::start(&settings).await;
    let mut waiting = [(); 4].map(|()| Raw::open(server.address)).into_iter();
    let mut new = Raw::open_from([127, 0, 0, 2], server.address);
    waiting.next().unwrap().closed();
    new.send(&connect(4, "new", 0));
    new.expect(&[0x20, 2, 0, 0]);
    // The others weren't closed, and can still log in.
    for (mut raw, name) in waiting.zip(["b", "c", "d"]) {
        raw.send(&connect(4, name, 0));
        raw.expect(&[0x20, 2, 0, 0]);
    }
}

/// Sends without reading until the listener closes the connection.
fn send_without_reading(address: SocketAddr) {
    let mut raw = Raw::v4(address, "deaf");
    raw.0.set_write_timeout(Some(TIMEOUT)).unwrap();
    let pings = b"\xc0\0".repeat(10_000);
    let started = Instant::now();
    let error = loop {
        match raw.0.write_all(&pings) {
            Ok(()) => assert!(started.elapsed() < 2 * TIMEOUT, "still served"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
}

/// Each waits for a time limit, so they run at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_silent_clients_are_disconnected() {
    let server = Server::start(&settings()).await;
    let address = server.address;
    let mut waiting = Vec::new();
    // No CONNECT, half a CONNECT, a packet that isn't completed, a client that sends nothing.
    waiting.push(std::thread::spawn(move || Raw::open(address).closed()));
    waiting.push(std::thread::spawn(move || {
        let mut raw = Raw::open(address);
        raw.send(&connect(4, "half", 0)[..9]);
        raw.closed();
    }));
    waiting.push(std::thread::spawn(move || {
        let mut raw = Raw::v5(address, "loris", 0);
        raw.0.set_read_timeout(Some(2 * TIMEOUT)).unwrap();
        raw.send(&publish("t", 1, b"x")[..4]);
        raw.disconnected(0x83);
    }));
    waiting.push(std::thread::spawn(move || {
        Raw::v5(address, "silent", 1).disconnected(0x8d);
    }));
    waiting.push(std::thread::spawn(move || send_without_reading(address)));
    while !waiting.iter().all(std::thread::JoinHandle::is_finished) {
        others_are_served(&server).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for thread in waiting {
        thread.join().unwrap();
    }
}
