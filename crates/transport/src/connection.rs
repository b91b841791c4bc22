//! One connection to the broker: packets in, packets out, signs of life.

use std::future::ready;
use std::io;
use std::time::Duration;

use rumqttc::{
    ConnectReturnCode, ConnectionError, EventLoop, MqttOptions, NetworkOptions, Packet, StateError,
};
use tokio::time::{Instant, sleep_until, timeout};

use crate::settings::MqttSettings;

/// What the broker is told: after 1.5 times this without a packet of ours it ends the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Time between pings. Two of them unanswered end the connection from our side.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Time to connect and log in, in seconds.
const CONNECT_SECONDS: u64 = 5;
/// A broker that hasn't taken a packet after this long is as good as gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to say goodbye in.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Packets that are read without a look at anything else.
const BURST: usize = 500;
/// The largest packet of MQTT. A lower limit of ours would not keep large packets away: the broker
/// would send the same one again after each reconnect, and nothing behind it would ever arrive.
pub(crate) const MAX_PACKET: usize = 268_435_460;

/// Why there is no connection, or no longer; says what to fix where that is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
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

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        use rumqttc::mqttbytes::Error as Bytes;
        match error {
            StateError::ConnectionAborted => Self::Closed(""),
            StateError::Io(error) | StateError::Deserialization(Bytes::Io(error)) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed(""),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// How to log in as `client_id`; a session that isn't `clean` outlives the connection.
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
/// The event loop is asked to connect, and its network is used from then on. Its own queue, window
/// and resending are left out: they drop unacknowledged publishes when the broker has lost the
/// session, and can't tell which connection an acknowledgement was meant for.
pub(crate) struct Connection {
    events: EventLoop,
    heard: Instant,
    next_ping: Instant,
}

impl Connection {
    /// Connects and logs in; also whether the broker still has the session. Dropping the future
    /// ends the attempt.
    pub(crate) async fn open(options: &MqttOptions) -> Result<(Self, bool), Fault> {
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_SECONDS);
        let mut events = EventLoop::new(options.clone(), 1);
        events.set_network_options(network);
        let session_present = match events.poll().await {
            Ok(rumqttc::Event::Incoming(Packet::ConnAck(accepted))) => accepted.session_present,
            Ok(other) => return Err(Fault::Broken(format!("{other:?} instead of a CONNACK"))),
            Err(error) => return Err(refusal(options, error)),
        };
        let now = Instant::now();
        Ok((
            Self {
                events,
                heard: now,
                next_ping: now + PING_EVERY,
            },
            session_present,
        ))
    }

    /// The next packet. Cancel-safe: what has arrived in part stays in the buffer.
    pub(crate) async fn read(&mut self) -> Result<Packet, Fault> {
        let network = self.events.network.as_mut().ok_or(Fault::Closed(""))?;
        let packet = network.read().await?;
        self.heard = Instant::now();
        Ok(packet)
    }

    /// Hands over the packets that are there already, until `take` has had enough.
    pub(crate) async fn rest(
        &mut self,
        mut take: impl FnMut(Packet) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        for _ in 0..BURST {
            let more = tokio::select! {
                biased;
                packet = self.read() => take(packet?)?,
                () = ready(()) => false,
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Writes packets and flushes once. A future that is dropped leaves no half packet behind: the
    /// rest of it goes out with the next one.
    pub(crate) async fn send(
        &mut self,
        packets: impl IntoIterator<Item = Packet>,
    ) -> Result<(), Fault> {
        let network = self.events.network.as_mut().ok_or(Fault::Closed(""))?;
        let silent = |_| Fault::Silent(SEND_TIMEOUT);
        for packet in packets {
            timeout(SEND_TIMEOUT, network.write(packet))
                .await
                .map_err(silent)??;
        }
        Ok(timeout(SEND_TIMEOUT, network.flush())
            .await
            .map_err(silent)??)
    }

    /// When the next [`Connection::ping`] is due.
    pub(crate) fn ping_due(&self) -> impl Future<Output = ()> + use<> {
        sleep_until(self.next_ping)
    }

    /// Asks the broker for a sign of life, and fails if the last two got none. Who isn't `reading`
    /// can't see any, and doesn't miss them.
    pub(crate) async fn ping(&mut self, reading: bool) -> Result<(), Fault> {
        if !reading {
            self.heard = Instant::now();
        }
        let silent = self.heard.elapsed();
        if silent > 2 * PING_EVERY {
            return Err(Fault::Silent(silent));
        }
        self.next_ping = Instant::now() + PING_EVERY;
        self.send([Packet::PingReq]).await
    }

    /// Sends these last packets and a DISCONNECT, and waits for the broker to hang up: closed by us
    /// with input unread, the connection would be reset, and the broker might not see them.
    pub(crate) async fn close(mut self, last: impl IntoIterator<Item = Packet>) {
        let goodbye = async {
            self.send(last.into_iter().chain([Packet::Disconnect]))
                .await?;
            loop {
                self.read().await?;
            }
        };
        let _: Result<Result<(), Fault>, _> = timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

fn refusal(options: &MqttOptions, error: ConnectionError) -> Fault {
    use ConnectReturnCode as Code;
    let unreachable = |error: String| {
        let (host, port) = options.broker_address();
        Fault::Unreachable {
            address: format!("{host}:{port}"),
            error,
        }
    };
    match error {
        ConnectionError::ConnectionRefused(code) => match code {
            Code::BadUserNamePassword => Fault::Login("bad user name or password"),
            Code::NotAuthorized => Fault::Login("not authorized"),
            Code::BadClientId => Fault::ClientId(options.client_id()),
            Code::RefusedProtocolVersion => Fault::Refused("it doesn't speak MQTT 3.1.1"),
            Code::ServiceUnavailable => Fault::Refused("it is unavailable"),
            Code::Success => Fault::Refused("it gives no reason"),
        },
        ConnectionError::NetworkTimeout => {
            unreachable(format!("no answer within {CONNECT_SECONDS} s"))
        }
        ConnectionError::Io(error) => unreachable(error.to_string()),
        ConnectionError::MqttState(error) => error.into(),
        other => unreachable(other.to_string()),
    }
}
