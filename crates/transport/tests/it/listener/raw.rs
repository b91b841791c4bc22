//! A client that sends arbitrary bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::harness::TIMEOUT;

pub struct Raw(pub TcpStream);

/// A CONNECT with a clean session.
pub fn connect(level: u8, id: &str, keep_alive: u8) -> Vec<u8> {
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend([level, 2, 0, keep_alive]);
    if level == 5 {
        body.push(0);
    }
    body.extend([0, u8::try_from(id.len()).unwrap()]);
    body.extend(id.bytes());
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    packet
}

/// A CONNECT with a clean session, a user name and a password.
pub fn connect_as(level: u8, id: &str, user: &str, password: &str) -> Vec<u8> {
    let mut packet = connect(level, id, 0);
    packet[9] |= 0xc0;
    for text in [user, password] {
        packet.extend([0, u8::try_from(text.len()).unwrap()]);
        packet.extend(text.bytes());
    }
    packet[1] = u8::try_from(packet.len() - 2).unwrap();
    packet
}

/// A PUBLISH of MQTT 3.1.1; at QoS 0 if the packet id is 0.
pub fn publish(topic: &str, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic.bytes());
    if packet_id != 0 {
        body.extend(packet_id.to_be_bytes());
    }
    body.extend(payload);
    let mut packet = vec![if packet_id == 0 { 0x30 } else { 0x32 }];
    let mut length = body.len();
    while length > 127 {
        packet.push(u8::try_from(length & 127).unwrap() | 128);
        length >>= 7;
    }
    packet.push(u8::try_from(length).unwrap());
    packet.extend(body);
    packet
}

pub fn puback(packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [0x40, 2, high, low]
}

impl Raw {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Opens a connection from this address of the machine.
    pub fn open_from(from: [u8; 4], address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self(stream)
    }

    /// Connects with MQTT 3.1.1.
    pub fn v4(address: SocketAddr, id: &str) -> Self {
        let mut raw = Self::open(address);
        raw.send(&connect(4, id, 0));
        raw.expect(&[0x20, 2, 0, 0]);
        raw
    }

    /// Connects with MQTT 5.
    pub fn v5(address: SocketAddr, id: &str, keep_alive: u8) -> Self {
        let mut raw = Self::open(address);
        raw.send(&connect(5, id, keep_alive));
        let (first, body) = raw.packet();
        assert_eq!((first, &body[..2]), (0x20, [0, 0].as_slice()));
        raw
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub fn expect(&mut self, bytes: &[u8]) {
        let mut received = vec![0; bytes.len()];
        self.0.read_exact(&mut received).unwrap();
        assert_eq!(received, bytes);
    }

    /// The next packet: its first byte, and the bytes behind the length.
    pub fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).unwrap();
        let mut length = usize::from(header[1] & 127);
        if header[1] > 127 {
            let mut more = [0];
            self.0.read_exact(&mut more).unwrap();
            length += usize::from(more[0]) << 7;
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (header[0], body)
    }

    /// The listener closes the connection without sending anything.
    pub fn closed(mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(rest, [0; 0]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// The listener sends a DISCONNECT with this reason code, and closes the connection.
    pub fn disconnected(mut self, code: u8) {
        let (first, body) = self.packet();
        assert_eq!((first, body[0]), (0xe0, code), "{body:x?}");
        self.closed();
    }

    pub fn hang_up(self) {
        self.0.shutdown(Shutdown::Both).unwrap();
    }
}
