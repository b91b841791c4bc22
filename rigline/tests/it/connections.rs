//! What devices can and can't make grow in `rigline up`.
#![expect(
    clippy::print_stderr,
    reason = "the environment decides what is tested"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

use model::dead_letter::PayloadDigest;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::fixture::{SOON, Up};

/// Connections that are opened and never log in, if the environment permits so many files.
const HALF_OPEN: u64 = 10_000;
/// Files that this process needs besides.
const OTHER_FILES: u64 = 500;
/// How much the process may grow for all of them.
const MAX_GROWTH: u64 = 96 << 20;
const MIB: u64 = 1 << 20;

/// A connection from this address of the machine.
fn open(from: Ipv4Addr, port: u16) -> TcpStream {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddrV4::new(from, 0)).unwrap();
    connect(&fd, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// A device that has logged in.
struct Device(TcpStream);

impl Device {
    fn log_in(port: u16, id: &str) -> Self {
        let mut device = Self(open(Ipv4Addr::LOCALHOST, port));
        let mut connect = b"\x10\0\0\x04MQTT\x04\x02\0\0\0".to_vec();
        connect.push(u8::try_from(id.len()).unwrap());
        connect.extend(id.bytes());
        connect[1] = u8::try_from(connect.len() - 2).unwrap();
        device.0.write_all(&connect).unwrap();
        device.expect([0x20, 2, 0, 0]);
        device
    }

    /// Publishes a reading at QoS 1, and waits for its PUBACK.
    fn publish(&mut self) {
        let mut publish = b"\x32\0\0\x1brigs/MINE/measurements/flow\0\x07{\"value\":1}".to_vec();
        publish[1] = u8::try_from(publish.len() - 2).unwrap();
        self.0.write_all(&publish).unwrap();
        self.expect([0x40, 2, 0, 7]);
    }

    fn expect(&mut self, expected: [u8; 4]) {
        let mut answer = [0; 4];
        self.0.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
}

/// Whether the listener has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Half of the connections come from one address, the others from ten.
#[test]
fn connections_that_never_log_in_keep_nobody_out() {
    let permitted = rlimit::increase_nofile_limit(HALF_OPEN + OTHER_FILES).unwrap();
    let count = HALF_OPEN.min(permitted.saturating_sub(OTHER_FILES));
    eprintln!("{count} connections: {permitted} open files are permitted");
    assert!(count >= 500, "raise `ulimit -n`: {permitted} is too low");
    let max_connections = count.to_string();
    let up = Up::start(&[("MQTT_MAX_CONNECTIONS", &max_connections)]);
    let mut device = Device::log_in(up.port, "device");
    device.publish();
    let before = up.stage.rss_bytes().unwrap();
    let mut peak = before;
    // A CONNECT that isn't complete.
    let mut incomplete = b"\x10\xff\x1f\0\x04MQTT\x04\x02\0\0\x0f\xf0".to_vec();
    incomplete.resize(1_000, b'x');

    let mut half_open = Vec::new();
    for number in 0..count {
        let from = if number * 2 < count {
            Ipv4Addr::new(127, 0, 0, 2)
        } else {
            Ipv4Addr::new(127, 0, 1, u8::try_from(number % 10).unwrap() + 1)
        };
        let mut stream = open(from, up.port);
        // The listener may have closed it already.
        let _ = stream.write_all(&incomplete);
        half_open.push(stream);
        if number % 50 == 0 {
            // Also waits until those before it are accepted: too many that wait are slowed down by the
            // system.
            Device::log_in(up.port, "brief");
        }
        if number % (count / 20) == 0 {
            device.publish();
            Device::log_in(up.port, "new").publish();
            peak = peak.max(up.stage.rss_bytes().unwrap());
        }
    }
    device.publish();
    Device::log_in(up.port, "last").publish();
    peak = peak.max(up.stage.rss_bytes().unwrap());

    let growth = peak.saturating_sub(before);
    eprintln!("{} MiB, and {} MiB more", before / MIB, growth / MIB);
    assert!(growth < MAX_GROWTH, "{} MiB more", growth / MIB);
    let closed = half_open
        .iter_mut()
        .filter_map(|one| is_closed(one).then_some(()))
        .count();
    assert!(closed as u64 * 2 >= count, "only {closed} were closed");
    let metrics = up.stage.get("/metrics");
    for reason in ["half_open_of_address", "evicted"] {
        let sample = format!("rigline_mqtt_refused_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&sample), "{sample}: {metrics}");
    }
    let logs = up.stage.logs_with("closed a new connection at once");
    // Three quarters of half of all.
    let limit = (count.div_ceil(2) - count.div_ceil(2) / 4).to_string();
    let refusals = logs.lines();
    let mut refusals = refusals.filter(|line| line.contains("closed a new connection at once"));
    let refused = refusals.next().unwrap_or_default();
    for part in [
        "WARN",
        "127.0.0.2",
        &limit,
        "MQTT_MAX_CONNECTIONS_PER_ADDRESS",
    ] {
        assert!(refused.contains(part), "{part}: {logs}");
    }
    let lines = logs.matches("closed a").count();
    assert!(lines < 100, "{lines} lines in the log");
    drop(half_open);
    up.stop();
}

/// It would be held for a while if it was read into memory.
#[test]
fn an_oversize_message_is_a_dead_letter_and_never_held_in_memory() {
    const LENGTH: usize = 96 << 20;
    const MAX_GROWTH: u64 = 32 << 20;
    let up = Up::start(&[]);
    let mut device = Device::log_in(up.port, "device");
    device.publish();
    let before = up.stage.rss_bytes().unwrap();
    let mut peak = before;
    let payload: Vec<u8> = (0..=250).cycle().take(LENGTH).collect();
    let head = b"\0\x1brigs/MINE/measurements/flow\0\x09";
    let length = head.len() + LENGTH;
    let mut packet = vec![0x32];
    packet.extend([0, 7, 14].map(|shift| u8::try_from(length >> shift & 127).unwrap() | 128));
    packet.push(u8::try_from(length >> 21).unwrap());
    packet.extend(head);
    device.0.write_all(&packet).unwrap();
    for piece in payload.chunks(1 << 20) {
        device.0.write_all(piece).unwrap();
        peak = peak.max(up.stage.rss_bytes().unwrap());
    }
    device.expect([0x40, 2, 0, 9]);
    device.publish();
    let growth = peak.saturating_sub(before);
    assert!(growth < MAX_GROWTH, "{} MiB more", growth / MIB);
    let letter = up.run_ok(&["dlq", "export"]);
    let sha256 = PayloadDigest::of(&payload).sha256;
    let sha256 = sha256.map(|byte| format!("{byte:02x}")).concat();
    let detail = format!("MQTT_MAX_PACKET; length {LENGTH}, sha256 {sha256}");
    assert!(
        letter.contains("too_large") && letter.contains(&detail),
        "{letter}"
    );
    let said = up.run_ok(&["ledger"]);
    assert!(
        said.contains("balanced") && said.contains("dead letters 1"),
        "{said}"
    );
}
