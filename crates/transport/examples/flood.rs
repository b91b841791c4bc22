//! A load generator: devices that publish to an MQTT listener (or a broker) as fast as it acknowledges,
//! with little CPU time of their own. Prints the measured rates and latencies as one line of JSON.
//!
//! Arguments: address, number of connections, unacknowledged messages of each, seconds.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::clock::Clock;
use model::time::Timestamp;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const THREADS: usize = 2;
/// Rigs of a connection. Its timestamps advance by a second with each round of their sensors, so
/// that even a fast run stays in the past.
const RIGS: usize = 10;
const SENSORS: [&str; 6] = [
    "temp_inlet",
    "temp_outlet",
    "pressure",
    "flow_rate",
    "voltage",
    "current",
];
const STARTS_AGO: Duration = Duration::from_hours(1);
/// Time for the last acknowledgements to arrive.
const LAST_ACKS_TIMEOUT: Duration = Duration::from_secs(30);
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const ACK: usize = 4;

type Failure = Box<dyn Error + Send + Sync>;

/// The measurements of one connection or of all: latencies in microseconds, each with the number of
/// messages that had it.
#[derive(Default)]
struct Measurements {
    latencies: Vec<(u64, u64)>,
}

/// A PUBLISH that needs a packet id and a timestamp.
struct Frame {
    bytes: Vec<u8>,
    id_at: usize,
    time_at: usize,
}

impl Frame {
    fn new(rig: usize, sensor: &str, value: usize, time: &str) -> Result<Self, Failure> {
        let topic = format!("rigs/RIG-{rig}/measurements/{sensor}");
        let before = r#"{"timestamp":""#;
        let payload = format!("{before}{time}\",\"value\":{value}.25}}");
        let length = 2 + topic.len() + 2 + payload.len();
        let mut bytes = vec![0x32];
        if length < 128 {
            bytes.push(u8::try_from(length)?);
        } else {
            bytes.push(u8::try_from(length % 128)? | 0x80);
            bytes.push(u8::try_from(length / 128)?);
        }
        bytes.extend(u16::try_from(topic.len())?.to_be_bytes());
        bytes.extend(topic.bytes());
        let id_at = bytes.len();
        bytes.extend([0, 0]);
        let time_at = bytes.len() + before.len();
        bytes.extend(payload.bytes());
        Ok(Self {
            bytes,
            id_at,
            time_at,
        })
    }

    fn write(&self, id: u16, time: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let put = |out: &mut Vec<u8>, at: usize, bytes: &[u8]| {
            if let Some(place) = out.get_mut(start + at..start + at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(out, self.id_at, &id.to_be_bytes());
        put(out, self.time_at, time);
    }
}

struct Device {
    stream: TcpStream,
    frames: Vec<Frame>,
    next_frame: usize,
    time: Timestamp,
    written_time: Vec<u8>,
    next_id: u16,
    next_ack: u16,
    out: Vec<u8>,
    sent: usize,
    /// When messages were written, and how many of them have no acknowledgement yet.
    outstanding: VecDeque<(Instant, usize)>,
    part: Vec<u8>,
    measurements: Measurements,
}

const fn after(id: u16) -> u16 {
    if id == u16::MAX { 1 } else { id + 1 }
}

fn format_time(time: Timestamp) -> Vec<u8> {
    let mut formatted = Vec::new();
    time.write_to(&mut formatted);
    formatted
}

impl Device {
    async fn connect(address: SocketAddr, number: usize) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let time = Clock::system()
            .now()
            .tick(Duration::from_secs(1))
            .minus(STARTS_AGO);
        let written_time = format_time(time);
        let shown = String::from_utf8(written_time.clone())?;
        let mut frames = Vec::new();
        for rig in 0..RIGS {
            for (place, sensor) in SENSORS.iter().enumerate() {
                frames.push(Frame::new(
                    number * RIGS + rig + 1,
                    sensor,
                    place + 70,
                    &shown,
                )?);
            }
        }
        let id = format!("flood-{number}-{:08x}", fastrand::u32(..));
        let mut connect = vec![0x10, u8::try_from(12 + id.len())?, 0, 4];
        connect.extend(b"MQTT\x04\x02\0\0\0");
        connect.push(u8::try_from(id.len())?);
        connect.extend(id.bytes());
        let mut device = Self {
            stream,
            frames,
            next_frame: 0,
            time,
            written_time,
            next_id: 1,
            next_ack: 1,
            out: connect,
            sent: 0,
            outstanding: VecDeque::new(),
            part: Vec::new(),
            measurements: Measurements::default(),
        };
        device.flush().await?;
        let mut answer = Vec::new();
        while answer.len() < CONNACK.len() {
            device.stream.readable().await?;
            match device.stream.try_read_buf(&mut answer) {
                Ok(0) => return Err("closed instead of a CONNACK".into()),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
        }
        if answer != CONNACK {
            return Err(format!("{answer:?} instead of a CONNACK").into());
        }
        Ok(device)
    }

    async fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            self.try_flush()?;
            if self.sent < self.out.len() {
                self.stream.writable().await?;
            }
        }
        Ok(())
    }

    fn try_flush(&mut self) -> io::Result<()> {
        match self
            .stream
            .try_write(self.out.get(self.sent..).unwrap_or_default())
        {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.sent == self.out.len() {
            self.sent = 0;
            self.out.clear();
        }
        Ok(())
    }

    fn publish(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(frame) = self.frames.get(self.next_frame) {
                frame.write(self.next_id, &self.written_time, &mut self.out);
            }
            self.next_id = after(self.next_id);
            self.next_frame += 1;
            if self.next_frame == self.frames.len() {
                self.next_frame = 0;
                self.time = self.time.plus(Duration::from_secs(1));
                self.written_time = format_time(self.time);
            }
        }
        if count > 0 {
            self.outstanding.push_back((Instant::now(), count));
        }
    }

    /// Reads the acknowledgements that have arrived, and returns how many.
    fn acknowledged(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let count = match self.stream.try_read(buffer) {
            Ok(0) => return Err("the listener closed the connection".into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        self.part
            .extend_from_slice(buffer.get(..count).unwrap_or_default());
        let mut acks = 0;
        for ack in self.part.chunks_exact(ACK) {
            let [high, low] = self.next_ack.to_be_bytes();
            if ack != [0x40, 2, high, low] {
                return Err(format!("{ack:?} instead of the PUBACK for {}", self.next_ack).into());
            }
            self.next_ack = after(self.next_ack);
            acks += 1;
        }
        self.part.drain(..acks * ACK);
        let mut left = acks;
        while let Some((written, of)) = self.outstanding.front_mut().filter(|_| left > 0) {
            let counted = left.min(*of);
            let micros = u64::try_from(written.elapsed().as_micros())?;
            self.measurements.latencies.push((micros, counted as u64));
            left -= counted;
            *of -= counted;
            if *of == 0 {
                self.outstanding.pop_front();
            }
        }
        Ok(acks)
    }

    /// Publishes until `end`, then completes the rows, and waits for the last acknowledgements.
    async fn run(mut self, window: usize, end: Instant) -> Result<Measurements, Failure> {
        let mut buffer = vec![0; 16 << 10];
        self.publish(window);
        let mut ending = false;
        while !self.outstanding.is_empty() {
            self.try_flush()?;
            if self.out.is_empty() {
                self.stream.readable().await?;
            } else {
                tokio::select! {
                    ready = self.stream.readable() => ready?,
                    ready = self.stream.writable() => ready?,
                }
            }
            let acks = self.acknowledged(&mut buffer)?;
            if ending || acks == 0 {
                continue;
            }
            ending = Instant::now() >= end;
            if ending {
                self.publish((SENSORS.len() - self.next_frame % SENSORS.len()) % SENSORS.len());
            } else {
                self.publish(acks);
            }
        }
        Ok(self.measurements)
    }
}

/// Runs all devices of one thread. Returns their measurements, and how long they ran.
async fn devices(
    address: SocketAddr,
    numbers: Vec<usize>,
    window: usize,
    run_for: Duration,
) -> Result<(Measurements, Duration), Failure> {
    let mut connected = Vec::new();
    for number in numbers {
        connected.push(Device::connect(address, number).await?);
    }
    let started = Instant::now();
    let end = started + run_for;
    let mut tasks = JoinSet::new();
    for device in connected {
        tasks.spawn_local(timeout(
            run_for + LAST_ACKS_TIMEOUT,
            device.run(window, end),
        ));
    }
    let mut all = Measurements::default();
    while let Some(ended) = tasks.join_next().await {
        all.latencies.extend(ended???.latencies);
    }
    Ok((all, started.elapsed()))
}

fn thread(
    address: SocketAddr,
    numbers: Vec<usize>,
    window: usize,
    run_for: Duration,
) -> Result<(Measurements, Duration), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, devices(address, numbers, window, run_for))
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, window, seconds] = args.as_slice() else {
        return Err("arguments: ADDR CONNECTIONS WINDOW SECONDS".into());
    };
    let (address, window): (SocketAddr, usize) = (address.parse()?, window.parse()?);
    let (connections, seconds): (usize, u64) = (connections.parse()?, seconds.parse()?);
    let run_for = Duration::from_secs(seconds);

    let threads: Vec<_> = (0..THREADS.min(connections))
        .map(|first| {
            let numbers = (first..connections).step_by(THREADS).collect();
            std::thread::spawn(move || thread(address, numbers, window, run_for))
        })
        .collect();
    let (mut latencies, mut longest) = (Vec::new(), Duration::ZERO);
    for thread in threads {
        let (measured, took) = thread.join().map_err(|_| "a thread panicked")??;
        latencies.extend(measured.latencies);
        longest = longest.max(took);
    }
    latencies.sort_unstable();
    let acks: u64 = latencies.iter().map(|(_, count)| count).sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let milliseconds = |percent: u64| {
        let mut left = acks * percent / 100;
        let found = latencies.iter().find(|(_, count)| {
            let found = *count >= left;
            left = left.saturating_sub(*count);
            found
        });
        found.map_or(0.0, |(micros, _)| *micros as f64 / 1_000.0)
    };
    let took = longest.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rate = acks as f64 / took;
    println!(
        r#"{{"acks":{acks},"seconds":{took:.3},"acks_per_second":{rate:.0},"p50_ms":{:.3},"p99_ms":{:.3},"max_ms":{:.3}}}"#,
        milliseconds(50),
        milliseconds(99),
        milliseconds(100)
    );
    Ok(())
}
