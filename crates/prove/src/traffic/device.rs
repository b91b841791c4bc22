//! An MQTT 3.1.1 client that reconnects shortly after each disconnection and sends again what isn't
//! acknowledged.
//!
//! Rigline's own publisher backs off: with a kill every second it would hardly ever be connected.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Batch, DRAIN, Progress, Sent};
use crate::message::Epoch;

/// The most messages in flight.
const WINDOW: usize = 1_000;
/// The most messages that wait to be sent.
const WAITING_LIMIT: usize = 19_000;
/// The time from the end of a connection to the next attempt.
const RECONNECT_DELAY: Duration = Duration::from_millis(100);
/// How long the server may take to answer CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which nothing arrives for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between pings.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// The time between polls of the connection.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Protocol level 4, a persistent session, no keep-alive, the client id `load`.
const CONNECT: &[u8] = b"\x10\x10\0\x04MQTT\x04\0\0\0\0\x04load";
const PINGREQ: &[u8] = b"\xC0\0";
const DISCONNECT: &[u8] = b"\xE0\0";

/// Publishes all batches, and waits until every message is acknowledged.
pub(super) fn publish(
    port: u16,
    epoch: Epoch,
    pause: Duration,
    batches: impl Iterator<Item = Batch>,
    stop: &AtomicBool,
    progress: &Progress,
) -> Sent {
    let mut device = Device {
        epoch,
        sent: Sent::default(),
        next: 0,
        in_flight: VecDeque::new(),
        packet_id: 0,
        progress,
    };
    let mut source = Source {
        batches,
        pause,
        due: Instant::now(),
        end: None,
        stop,
    };
    while !device.is_done(&source) {
        // However it ended, the next connection continues where this one was.
        let _ = device.publish_once(port, &mut source);
        source.take(&mut device);
        std::thread::sleep(RECONNECT_DELAY);
    }
    device.sent
}

/// The batches that are still to be sent.
struct Source<'a, B> {
    batches: B,
    pause: Duration,
    due: Instant,
    /// When the last batch was handed over.
    end: Option<Instant>,
    stop: &'a AtomicBool,
}

impl<B: Iterator<Item = Batch>> Source<'_, B> {
    /// Hands over the batches that are due, including those that became due without a connection.
    fn take(&mut self, device: &mut Device<'_>) {
        while self.end.is_none() && device.waiting() < WAITING_LIMIT && Instant::now() >= self.due {
            let next = if self.stop.load(Ordering::Relaxed) {
                None
            } else {
                self.batches.next()
            };
            match next {
                Some(batch) => device.hand_over(batch),
                None => self.end = Some(Instant::now()),
            }
            self.due += self.pause;
        }
        if device.waiting() >= WAITING_LIMIT {
            self.due = Instant::now();
        }
    }
}

struct Device<'a> {
    epoch: Epoch,
    sent: Sent,
    /// The index of the first message that was never written to a connection.
    next: usize,
    /// Messages that were written and aren't acknowledged: packet id and index.
    in_flight: VecDeque<(u16, usize)>,
    packet_id: u16,
    progress: &'a Progress,
}

impl Device<'_> {
    fn waiting(&self) -> usize {
        self.sent.messages.len() - self.next
    }

    fn hand_over(&mut self, batch: Batch) {
        self.progress.sent.fetch_add(batch.len(), Ordering::Relaxed);
        self.sent.messages.extend(batch);
        let count = self.sent.messages.len();
        self.sent.acknowledged.resize(count, false);
    }

    fn is_done<B>(&self, source: &Source<'_, B>) -> bool {
        let through = self.waiting() == 0 && self.in_flight.is_empty();
        source
            .end
            .is_some_and(|end| through || end.elapsed() >= DRAIN)
    }

    /// Publishes over one connection until it ends.
    fn publish_once<B: Iterator<Item = Batch>>(
        &mut self,
        port: u16,
        source: &mut Source<'_, B>,
    ) -> io::Result<()> {
        let mut stream = connect(port)?;
        let mut out: Vec<u8> = Vec::new();
        for index in 0..self.in_flight.len() {
            let (packet_id, message) = self.in_flight[index];
            self.write(packet_id, message, true, &mut out);
        }
        let (mut last_read, mut last_ping) = (Instant::now(), Instant::now());
        let mut incoming = Vec::new();
        while !self.is_done(source) {
            source.take(self);
            while self.in_flight.len() < WINDOW && self.waiting() > 0 {
                let (packet_id, message) = (self.free_id(), self.next);
                self.next += 1;
                self.in_flight.push_back((packet_id, message));
                self.write(packet_id, message, false, &mut out);
            }
            if last_ping.elapsed() >= PING_INTERVAL {
                last_ping = Instant::now();
                out.extend_from_slice(PINGREQ);
            }
            let wrote = or_zero(stream.write(&out))?;
            out.drain(..wrote);
            let mut piece = [0; 4_096];
            let read = match stream.read(&mut piece) {
                // The server has closed the connection.
                Ok(0) => return Ok(()),
                read => or_zero(read)?,
            };
            if read > 0 {
                last_read = Instant::now();
            }
            incoming.extend_from_slice(&piece[..read]);
            self.handle_packets(&mut incoming)?;
            if last_read.elapsed() >= IDLE_TIMEOUT {
                return Err(ErrorKind::TimedOut.into());
            }
            if wrote + read == 0 {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        stream.set_nonblocking(false)?;
        stream.write_all(DISCONNECT)
    }

    /// A packet id that no message in flight has.
    fn free_id(&mut self) -> u16 {
        loop {
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            let taken = |(id, _): &(u16, usize)| *id == self.packet_id;
            if !self.in_flight.iter().any(taken) {
                return self.packet_id;
            }
        }
    }

    /// Appends a PUBLISH at QoS 1 to the output.
    fn write(&self, packet_id: u16, message: usize, again: bool, out: &mut Vec<u8>) {
        let message = self.sent.messages[message];
        let (topic, payload) = (message.topic(), message.payload(self.epoch));
        let length = 2 + topic.len() + 2 + payload.len();
        out.push(if again { 0x3A } else { 0x32 });
        // Two bytes of length are enough for 16 kB.
        out.push(u8::try_from(length % 128).expect("below 128") | 0x80);
        out.push(u8::try_from(length / 128).expect("a short message"));
        let topic_length = u16::try_from(topic.len()).expect("a short topic");
        out.extend_from_slice(&topic_length.to_be_bytes());
        out.extend_from_slice(topic.as_bytes());
        out.extend_from_slice(&packet_id.to_be_bytes());
        out.extend_from_slice(payload.as_bytes());
    }

    /// Handles the complete packets in the buffer: acknowledgements, and answers to pings.
    fn handle_packets(&mut self, incoming: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = incoming.as_slice();
        loop {
            match *rest {
                [0x40, 2, high, low, ..] => {
                    self.acknowledged(u16::from_be_bytes([high, low]));
                    rest = &rest[4..];
                }
                [0xD0, 0, ..] => rest = &rest[2..],
                [] | [0x40 | 0xD0] | [0x40, 2] | [0x40, 2, _] => break,
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
        let left = rest.len();
        incoming.drain(..incoming.len() - left);
        Ok(())
    }

    fn acknowledged(&mut self, packet_id: u16) {
        let found = self.in_flight.iter().position(|(id, _)| *id == packet_id);
        let Some((_, message)) = found.and_then(|index| self.in_flight.remove(index)) else {
            return;
        };
        self.sent.acknowledged[message] = true;
        self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Opens an MQTT connection; reads and writes on it don't block.
fn connect(port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    stream.write_all(CONNECT)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    if answer[0] != 0x20 || answer[3] != 0 {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// The number of bytes read or written; 0 if the call would block.
fn or_zero(done: io::Result<usize>) -> io::Result<usize> {
    match done {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        done => done,
    }
}
