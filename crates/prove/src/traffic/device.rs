//! A device with no patience: an MQTT 3.1.1 client that is back a moment after its connection has
//! broken, however often that happens, and sends again what nobody has acknowledged.
//!
//! Our own publisher waits longer and longer; between kills that come every second it would hardly
//! ever be there.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Batch, DRAIN, Progress, Sent};
use crate::message::Epoch;

/// Messages that wait for an acknowledgement at the same time.
const WINDOW: usize = 1_000;
/// Messages that wait to be sent.
const WAITING: usize = 19_000;
/// From the end of a connection to the next try.
const AGAIN: Duration = Duration::from_millis(100);
/// A greeting that isn't answered by then is none.
const GREETING: Duration = Duration::from_secs(5);
/// Where nothing comes for so long there is nobody.
const SILENCE: Duration = Duration::from_secs(10);
/// How often it asks whether there is somebody.
const PING: Duration = Duration::from_secs(3);
/// From one look at the connection to the next.
const POLL: Duration = Duration::from_millis(1);

/// Protocol 4, a session that is kept, no time limit, the client id `load`.
const CONNECT: &[u8] = b"\x10\x10\0\x04MQTT\x04\0\0\0\0\x04load";
const PINGREQ: &[u8] = b"\xC0\0";
const DISCONNECT: &[u8] = b"\xE0\0";

/// Publishes all batches, and waits until all of it is acknowledged.
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
    let mut feed = Feed {
        batches,
        pause,
        due: Instant::now(),
        end: None,
        stop,
    };
    while !device.is_done(&feed) {
        // Whatever ended it: the next one goes on where this one was.
        let _ = device.connected(port, &mut feed);
        feed.take(&mut device);
        std::thread::sleep(AGAIN);
    }
    device.sent
}

/// Where messages come from.
struct Feed<'a, B> {
    batches: B,
    pause: Duration,
    due: Instant,
    /// When the last batch was out.
    end: Option<Instant>,
    stop: &'a AtomicBool,
}

impl<B: Iterator<Item = Batch>> Feed<'_, B> {
    /// Hands over what is due, also what was due while nobody listened.
    fn take(&mut self, device: &mut Device<'_>) {
        while self.end.is_none() && device.waiting() < WAITING && Instant::now() >= self.due {
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
        if device.waiting() >= WAITING {
            self.due = Instant::now();
        }
    }
}

struct Device<'a> {
    epoch: Epoch,
    sent: Sent,
    /// The first message that was never written to a connection.
    next: usize,
    /// What was, and isn't acknowledged: packet id and place.
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

    fn is_done<B>(&self, feed: &Feed<'_, B>) -> bool {
        let through = self.waiting() == 0 && self.in_flight.is_empty();
        feed.end
            .is_some_and(|end| through || end.elapsed() >= DRAIN)
    }

    /// One connection, from its greeting to its end.
    fn connected<B: Iterator<Item = Batch>>(
        &mut self,
        port: u16,
        feed: &mut Feed<'_, B>,
    ) -> io::Result<()> {
        let mut wire = greet(port)?;
        let mut out: Vec<u8> = Vec::new();
        for place in 0..self.in_flight.len() {
            let (packet_id, message) = self.in_flight[place];
            self.write(packet_id, message, true, &mut out);
        }
        let (mut heard, mut asked) = (Instant::now(), Instant::now());
        let mut incoming = Vec::new();
        while !self.is_done(feed) {
            feed.take(self);
            while self.in_flight.len() < WINDOW && self.waiting() > 0 {
                let (packet_id, message) = (self.free_id(), self.next);
                self.next += 1;
                self.in_flight.push_back((packet_id, message));
                self.write(packet_id, message, false, &mut out);
            }
            if asked.elapsed() >= PING {
                asked = Instant::now();
                out.extend_from_slice(PINGREQ);
            }
            let wrote = some(wire.write(&out))?;
            out.drain(..wrote);
            let mut piece = [0; 4_096];
            let read = match wire.read(&mut piece) {
                // The other side has hung up.
                Ok(0) => return Ok(()),
                read => some(read)?,
            };
            if read > 0 {
                heard = Instant::now();
            }
            incoming.extend_from_slice(&piece[..read]);
            self.hear(&mut incoming)?;
            if heard.elapsed() >= SILENCE {
                return Err(ErrorKind::TimedOut.into());
            }
            if wrote + read == 0 {
                std::thread::sleep(POLL);
            }
        }
        wire.set_nonblocking(false)?;
        wire.write_all(DISCONNECT)
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

    /// A PUBLISH at QoS 1.
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

    /// Takes whole packets off what has come: acknowledgements, and answers to pings.
    fn hear(&mut self, incoming: &mut Vec<u8>) -> io::Result<()> {
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
        let Some((_, message)) = found.and_then(|place| self.in_flight.remove(place)) else {
            return;
        };
        self.sent.acknowledged[message] = true;
        self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection that is open for messages; reads and writes on it don't wait.
fn greet(port: u16) -> io::Result<TcpStream> {
    let mut wire = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    wire.set_nodelay(true)?;
    wire.set_read_timeout(Some(GREETING))?;
    wire.write_all(CONNECT)?;
    let mut answer = [0; 4];
    wire.read_exact(&mut answer)?;
    if answer[0] != 0x20 || answer[3] != 0 {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    wire.set_nonblocking(true)?;
    Ok(wire)
}

/// How much was read or written; 0 if nothing can be now.
fn some(done: io::Result<usize>) -> io::Result<usize> {
    match done {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        done => done,
    }
}
