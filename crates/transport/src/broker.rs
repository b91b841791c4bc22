//! One connection to the broker: reads and writes packets, and pings.

mod codec;
mod reason;

use std::future::ready;
use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use common::tls::{Stream, StreamError};
use rumqttc::{Connect, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

pub(crate) use self::codec::{Limits, Received};
pub(crate) use self::reason::Reason;
use crate::listener::codec::ProtocolError;
use crate::settings::{MqttSettings, MqttVersion};

/// The keep-alive of the CONNECT: after 1.5 times this without a packet the broker ends the connection.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The longest time between pings. After two of it without a packet we end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Time to connect and log in.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A broker that hasn't accepted a packet after this long counts as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to send a DISCONNECT, and for the broker to close the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The most packets that are read before other events are handled.
const READ_BATCH: usize = 500;
/// Room that is made for the next read.
const READ_BUFFER: usize = 8 << 10;
/// Packets are written together up to this many bytes.
const WRITE_BUFFER: usize = 32 << 10;
/// The largest packet of MQTT. With a lower limit, a larger message would end the connection again
/// after each reconnect, and the messages behind it would never arrive.
pub(crate) const MAX_PACKET: usize = 268_435_460;

/// Why a connection failed or ended, with the remedy if there is one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error("no connection to the broker at {address}: {error}")]
    Unreachable { address: String, error: String },
    #[error("no TLS connection to the broker at {address}: {error}")]
    Tls { address: String, error: String },
    #[error("the broker refuses the login: check MQTT_USERNAME and MQTT_PASSWORD ({0})")]
    Login(&'static str),
    #[error("the broker refuses the client id {0:?}: set another MQTT_CLIENT_ID")]
    ClientId(String),
    #[error("the broker refuses the connection: {0}")]
    Refused(String),
    #[error(
        "the broker refuses to subscribe us to {filter:?} at QoS 1: {reason}; check its access rules, or \
         MQTT_TOPIC"
    )]
    Subscription { filter: String, reason: String },
    #[error("the broker refuses a message: {0}; it is sent again")]
    Message(Reason),
    #[error("the broker ends the connection: {0}")]
    Disconnected(Reason),
    #[error("the broker closed the connection{0}")]
    Closed(&'static str),
    #[error("the connection to the broker broke: {0}")]
    Broken(String),
    #[error("the broker hasn't answered for {0:?}")]
    Silent(Duration),
}

impl From<io::Error> for BrokerError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The end of a TLS connection that was killed is unexpected.
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Closed(""),
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<ProtocolError> for BrokerError {
    fn from(error: ProtocolError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    settings: MqttSettings,
    client_id: String,
    is_clean: bool,
    receive_max: u16,
}

/// The options to connect as `client_id`. A session that isn't `clean` outlives the connection.
pub(crate) fn options(settings: &MqttSettings, client_id: &str, clean: bool) -> Options {
    Options {
        settings: settings.clone(),
        client_id: client_id.to_owned(),
        is_clean: clean,
        receive_max: u16::MAX,
    }
}

impl Options {
    /// With another limit on the messages that the broker sends before the first is acknowledged, which
    /// only a broker of MQTT 5 knows.
    pub(crate) const fn with_receive_max(mut self, receive_max: u16) -> Self {
        self.receive_max = receive_max;
        self
    }

    fn connect(&self) -> Connect {
        let mut connect = Connect::new(&self.client_id);
        connect.keep_alive = u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX);
        connect.clean_session = self.is_clean;
        if let Some((user, password)) = self.settings.login() {
            connect.set_login(user, password);
        }
        connect
    }

    fn unreachable(&self, error: String) -> BrokerError {
        let address = self.settings.address();
        BrokerError::Unreachable { address, error }
    }

    fn tls_error(&self, error: String) -> BrokerError {
        let address = self.settings.address();
        BrokerError::Tls { address, error }
    }

    pub(crate) fn stream_error(&self, error: StreamError) -> BrokerError {
        match error {
            StreamError::Unreachable(error) => self.unreachable(error.to_string()),
            StreamError::Tls(error) => self.tls_error(error.to_string()),
        }
    }

    /// The error of reading or writing.
    pub(crate) fn io_error(&self, error: io::Error) -> BrokerError {
        let tls = self.settings.client_tls();
        match tls.and_then(|tls| tls.explain(&error, &self.settings.mqtt_host)) {
            Some(explained) => self.tls_error(explained),
            None => error.into(),
        }
    }

    /// The error of a refused CONNECT. The codes of MQTT 3.1.1 are below those of 5.
    fn refusal(&self, reason: Reason) -> BrokerError {
        match reason.0 {
            4 | 0x86 => BrokerError::Login("bad user name or password"),
            5 | 0x87 => BrokerError::Login("not authorized"),
            2 | 0x85 => BrokerError::ClientId(self.client_id.clone()),
            3 => BrokerError::Refused("it is unavailable".to_owned()),
            1 | 0x84 => BrokerError::Refused(match self.settings.mqtt_version {
                MqttVersion::V311 => "it doesn't speak MQTT 3.1.1: set MQTT_VERSION=5".to_owned(),
                MqttVersion::V5 => "it doesn't speak MQTT 5: set MQTT_VERSION=3.1.1".to_owned(),
            }),
            _ => BrokerError::Refused(reason.to_string()),
        }
    }
}

/// A connection that the broker has accepted.
///
/// Only the client library's codec is used. The queue, window and retransmission of its event loop drop
/// unacknowledged publishes when the broker has lost the session, and don't know to which connection an
/// acknowledgement belongs.
pub(crate) struct BrokerConnection {
    options: Options,
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    last_packet: Instant,
    ping_interval: Duration,
    next_ping: Instant,
    limits: Limits,
}

impl BrokerConnection {
    /// Connects and logs in. Returns whether the broker still has the session, too. Dropping the
    /// future ends the attempt. Passwords and certificates are read from their files again.
    pub(crate) async fn open(options: &Options) -> Result<(Self, bool), BrokerError> {
        match timeout(CONNECT_TIMEOUT, Self::log_in(options)).await {
            Ok(opened) => opened,
            Err(_) => Err(options.unreachable(format!("no answer within {CONNECT_TIMEOUT:?}"))),
        }
    }

    async fn log_in(options: &Options) -> Result<(Self, bool), BrokerError> {
        let stream = options
            .settings
            .open()
            .await
            .map_err(|error| options.stream_error(error))?;
        let now = Instant::now();
        let mut opened = Self {
            options: options.clone(),
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            last_packet: now,
            ping_interval: PING_INTERVAL,
            next_ping: now + PING_INTERVAL,
            limits: Limits::default(),
        };
        let version = options.settings.mqtt_version;
        codec::encode_connect(
            options.connect(),
            version,
            options.receive_max,
            &mut opened.output,
        )?;
        opened.write().await?;
        match opened.read().await {
            Ok(Received::Connected {
                session_present,
                limits,
            }) => {
                opened.keep(limits);
                Ok((opened, session_present))
            }
            Ok(Received::Refused(reason)) => Err(options.refusal(reason)),
            Ok(other) => Err(BrokerError::Broken(format!(
                "{other:?} instead of a CONNACK"
            ))),
            Err(BrokerError::Closed(_) | BrokerError::Broken(_)) if !options.settings.mqtt_tls => {
                Err(BrokerError::Closed(
                    " without a CONNACK: if this is its port for TLS, set MQTT_TLS=true or use mqtts://",
                ))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps to what the broker allows.
    fn keep(&mut self, limits: Limits) {
        self.limits = limits;
        if let Some(keep_alive) = limits.keep_alive.filter(|time| !time.is_zero()) {
            self.ping_interval = PING_INTERVAL.min(keep_alive / 2);
            self.next_ping = Instant::now() + self.ping_interval;
        }
    }

    /// What the broker allows.
    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Reads the next packet. Cancel-safe: an incomplete packet stays in the buffer.
    pub(crate) async fn read(&mut self) -> Result<Received, BrokerError> {
        let version = self.options.settings.mqtt_version;
        let packet = loop {
            if let Some(packet) = codec::decode(&mut self.input, version)? {
                break packet;
            }
            self.input.reserve(READ_BUFFER);
            let read = self.stream.read_buf(&mut self.input).await;
            if read.map_err(|error| self.options.io_error(error))? == 0 {
                return Err(BrokerError::Closed(""));
            }
        };
        self.last_packet = Instant::now();
        Ok(packet)
    }

    /// Passes the packets that have arrived to `handle`, until it returns `false`.
    pub(crate) async fn read_arrived(
        &mut self,
        mut handle: impl FnMut(Received) -> Result<bool, BrokerError>,
    ) -> Result<(), BrokerError> {
        for _ in 0..READ_BATCH {
            let more = tokio::select! {
                biased;
                packet = self.read() => handle(packet?)?,
                () = ready(()) => false,
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Writes packets and flushes them. If the future is dropped, the rest of a packet that was written
    /// in part is sent with the next one.
    pub(crate) async fn send(
        &mut self,
        packets: impl IntoIterator<Item = Packet>,
    ) -> Result<(), BrokerError> {
        let version = self.options.settings.mqtt_version;
        for packet in packets {
            codec::encode(packet, version, self.limits.max_packet, &mut self.output)?;
            if self.output.len() >= WRITE_BUFFER {
                self.write().await?;
            }
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), BrokerError> {
        let write = async {
            while self.output.has_remaining() {
                self.stream.write_buf(&mut self.output).await?;
            }
            self.stream.flush().await
        };
        timeout(SEND_TIMEOUT, write)
            .await
            .map_err(|_| BrokerError::Silent(SEND_TIMEOUT))?
            .map_err(|error| self.options.io_error(error))
    }

    /// Waits until the next [`BrokerConnection::ping`] is due.
    pub(crate) fn ping_due(&self) -> impl Future<Output = ()> + use<> {
        sleep_until(self.next_ping)
    }

    /// Sends a ping, and fails if no packet has arrived for 30 s. While packets aren't read
    /// (`reading` is false), no answer is expected.
    pub(crate) async fn ping(&mut self, reading: bool) -> Result<(), BrokerError> {
        if !reading {
            self.last_packet = Instant::now();
        }
        let silent = self.last_packet.elapsed();
        if silent > 2 * PING_INTERVAL {
            return Err(BrokerError::Silent(silent));
        }
        self.next_ping = Instant::now() + self.ping_interval;
        self.send([Packet::PingReq]).await
    }

    /// Sends these last packets and a DISCONNECT, and waits for the broker to close the connection: if
    /// we closed it with unread input, it would be reset, and the broker might not receive them.
    pub(crate) async fn close(mut self, last: impl IntoIterator<Item = Packet>) {
        let close = async {
            self.send(last.into_iter().chain([Packet::Disconnect]))
                .await?;
            loop {
                self.read().await?;
            }
        };
        let _: Result<Result<(), BrokerError>, _> = timeout(CLOSE_TIMEOUT, close).await;
    }
}
