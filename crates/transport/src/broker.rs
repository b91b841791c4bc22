//! One connection to the broker: reads and writes packets, and pings.

use std::future::ready;
use std::io;
use std::time::Duration;

use rumqttc::{
    ConnectReturnCode, ConnectionError, EventLoop, MqttOptions, NetworkOptions, Packet, StateError,
};
use tokio::time::{Instant, sleep_until, timeout};

use crate::settings::MqttSettings;

/// The keep-alive of the CONNECT: after 1.5 times this without a packet the broker ends the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Time between pings. After two without an answer we end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Time to connect and log in, in seconds.
const CONNECT_TIMEOUT_SECONDS: u64 = 5;
/// A broker that hasn't accepted a packet after this long counts as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to send a DISCONNECT, and for the broker to close the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The most packets that are read before other events are handled.
const READ_BATCH: usize = 500;
/// The largest packet of MQTT. With a lower limit, a larger message would end the connection again
/// after each reconnect, and the messages behind it would never arrive.
pub(crate) const MAX_PACKET: usize = 268_435_460;

/// Why a connection failed or ended, with the remedy if there is one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error("no connection to the broker at {address}: {error}")]
    Unreachable { address: String, error: String },
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

impl From<StateError> for BrokerError {
    fn from(error: StateError) -> Self {
        use rumqttc::mqttbytes::Error as Bytes;
        match error {
            StateError::ConnectionAborted => Self::Closed(""),
            StateError::Io(error) | StateError::Deserialization(Bytes::Io(error)) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<io::Error> for BrokerError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed(""),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// The options to connect as `client_id`. A session that isn't `clean` outlives the connection.
pub(crate) fn options(settings: &MqttSettings, client_id: &str, clean: bool) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, settings.host(), settings.mqtt_port);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_clean_session(clean);
    options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
    if !settings.mqtt_username.is_empty() {
        let password = settings
            .mqtt_password
            .as_ref()
            .map_or("", |secret| secret.expose());
        options.set_credentials(&settings.mqtt_username, password);
    }
    options
}

/// A connection that the broker has accepted.
///
/// The client library's event loop connects; after that only its network is used. Its queue, window
/// and retransmission aren't: they drop unacknowledged publishes when the broker has lost the session,
/// and don't know to which connection an acknowledgement belongs.
pub(crate) struct BrokerConnection {
    events: EventLoop,
    last_packet: Instant,
    next_ping: Instant,
}

impl BrokerConnection {
    /// Connects and logs in. Returns whether the broker still has the session, too. Dropping the
    /// future ends the attempt.
    pub(crate) async fn open(options: &MqttOptions) -> Result<(Self, bool), BrokerError> {
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_SECONDS);
        let mut events = EventLoop::new(options.clone(), 1);
        events.set_network_options(network);
        let session_present = match events.poll().await {
            Ok(rumqttc::Event::Incoming(Packet::ConnAck(accepted))) => accepted.session_present,
            Ok(other) => {
                return Err(BrokerError::Broken(format!(
                    "{other:?} instead of a CONNACK"
                )));
            }
            Err(error) => return Err(connect_error(options, error)),
        };
        let now = Instant::now();
        Ok((
            Self {
                events,
                last_packet: now,
                next_ping: now + PING_INTERVAL,
            },
            session_present,
        ))
    }

    /// Reads the next packet. Cancel-safe: an incomplete packet stays in the buffer.
    pub(crate) async fn read(&mut self) -> Result<Packet, BrokerError> {
        let network = self
            .events
            .network
            .as_mut()
            .ok_or(BrokerError::Closed(""))?;
        let packet = network.read().await?;
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

    /// Writes packets and flushes once. If the future is dropped, the rest of a packet that was written
    /// in part is sent with the next one.
    pub(crate) async fn send(
        &mut self,
        packets: impl IntoIterator<Item = Packet>,
    ) -> Result<(), BrokerError> {
        let network = self
            .events
            .network
            .as_mut()
            .ok_or(BrokerError::Closed(""))?;
        let silent = |_| BrokerError::Silent(SEND_TIMEOUT);
        for packet in packets {
            timeout(SEND_TIMEOUT, network.write(packet))
                .await
                .map_err(silent)??;
        }
        Ok(timeout(SEND_TIMEOUT, network.flush())
            .await
            .map_err(silent)??)
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

fn connect_error(options: &MqttOptions, error: ConnectionError) -> BrokerError {
    use ConnectReturnCode as Code;
    let unreachable = |error: String| {
        let (host, port) = options.broker_address();
        BrokerError::Unreachable {
            address: format!("{host}:{port}"),
            error,
        }
    };
    match error {
        ConnectionError::ConnectionRefused(code) => match code {
            Code::BadUserNamePassword => BrokerError::Login("bad user name or password"),
            Code::NotAuthorized => BrokerError::Login("not authorized"),
            Code::BadClientId => BrokerError::ClientId(options.client_id()),
            Code::RefusedProtocolVersion => BrokerError::Refused("it doesn't speak MQTT 3.1.1"),
            Code::ServiceUnavailable => BrokerError::Refused("it is unavailable"),
            Code::Success => BrokerError::Refused("it gives no reason"),
        },
        ConnectionError::NetworkTimeout => {
            unreachable(format!("no answer within {CONNECT_TIMEOUT_SECONDS} s"))
        }
        ConnectionError::Io(error) => unreachable(error.to_string()),
        ConnectionError::MqttState(error) => error.into(),
        other => unreachable(other.to_string()),
    }
}
