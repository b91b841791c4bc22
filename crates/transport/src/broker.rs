//! One connection to the broker: reads and writes packets, and pings.

use std::future::ready;
use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use common::tls::{Stream, StreamError};
use rumqttc::mqttbytes::Error as CodecError;
use rumqttc::{ConnAck, Connect, ConnectReturnCode, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::settings::MqttSettings;

/// The keep-alive of the CONNECT: after 1.5 times this without a packet the broker ends the connection.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Time between pings. After two without an answer we end the connection.
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
    Refused(&'static str),
    #[error(
        "the broker refuses to subscribe us to {0:?} at QoS 1: check its access rules, or MQTT_TOPIC"
    )]
    Subscription(String),
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

/// How to connect.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    settings: MqttSettings,
    client_id: String,
    is_clean: bool,
}

/// The options to connect as `client_id`. A session that isn't `clean` outlives the connection.
pub(crate) fn options(settings: &MqttSettings, client_id: &str, clean: bool) -> Options {
    Options {
        settings: settings.clone(),
        client_id: client_id.to_owned(),
        is_clean: clean,
    }
}

impl Options {
    fn connect(&self) -> Packet {
        let mut connect = Connect::new(&self.client_id);
        connect.keep_alive = u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX);
        connect.clean_session = self.is_clean;
        if let Some((user, password)) = self.settings.login() {
            connect.set_login(user, password);
        }
        Packet::Connect(connect)
    }

    fn unreachable(&self, error: String) -> BrokerError {
        let address = self.settings.address();
        BrokerError::Unreachable { address, error }
    }

    fn tls_error(&self, error: String) -> BrokerError {
        let address = self.settings.address();
        BrokerError::Tls { address, error }
    }

    fn stream_error(&self, error: StreamError) -> BrokerError {
        match error {
            StreamError::Unreachable(error) => self.unreachable(error.to_string()),
            StreamError::Tls(error) => self.tls_error(error.to_string()),
        }
    }

    /// The error of reading or writing.
    fn io_error(&self, error: io::Error) -> BrokerError {
        let tls = self.settings.client_tls();
        match tls.and_then(|tls| tls.explain(&error, &self.settings.mqtt_host)) {
            Some(explained) => self.tls_error(explained),
            None => error.into(),
        }
    }

    fn refusal(&self, code: ConnectReturnCode) -> BrokerError {
        use ConnectReturnCode as Code;
        match code {
            Code::BadUserNamePassword => BrokerError::Login("bad user name or password"),
            Code::NotAuthorized => BrokerError::Login("not authorized"),
            Code::BadClientId => BrokerError::ClientId(self.client_id.clone()),
            Code::RefusedProtocolVersion => BrokerError::Refused("it doesn't speak MQTT 3.1.1"),
            Code::ServiceUnavailable => BrokerError::Refused("it is unavailable"),
            Code::Success => BrokerError::Refused("it gives no reason"),
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
    next_ping: Instant,
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
            next_ping: now + PING_INTERVAL,
        };
        opened.send([options.connect()]).await?;
        match opened.read().await {
            Ok(Packet::ConnAck(ConnAck {
                session_present,
                code: ConnectReturnCode::Success,
            })) => Ok((opened, session_present)),
            Ok(Packet::ConnAck(refused)) => Err(options.refusal(refused.code)),
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

    /// Reads the next packet. Cancel-safe: an incomplete packet stays in the buffer.
    pub(crate) async fn read(&mut self) -> Result<Packet, BrokerError> {
        let packet = loop {
            let missing = match Packet::read(&mut self.input, MAX_PACKET) {
                Ok(packet) => break packet,
                Err(CodecError::InsufficientBytes(missing)) => missing,
                Err(error) => return Err(BrokerError::Broken(error.to_string())),
            };
            self.input.reserve(missing.max(READ_BUFFER));
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
        mut handle: impl FnMut(Packet) -> Result<bool, BrokerError>,
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
        for packet in packets {
            packet
                .write(&mut self.output, MAX_PACKET)
                .map_err(|error| BrokerError::Broken(error.to_string()))?;
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

    /// Sends a ping, and fails if no packet has arrived since the last two. While packets aren't read
    /// (`reading` is false), no answer is expected.
    pub(crate) async fn ping(&mut self, reading: bool) -> Result<(), BrokerError> {
        if !reading {
            self.last_packet = Instant::now();
        }
        let silent = self.last_packet.elapsed();
        if silent > 2 * PING_INTERVAL {
            return Err(BrokerError::Silent(silent));
        }
        self.next_ping = Instant::now() + PING_INTERVAL;
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
