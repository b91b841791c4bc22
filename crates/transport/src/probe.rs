//! What can be seen of a broker over the network, for `rigline check`. Leaves nothing behind.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error as CodecError;
use rumqttc::v5::mqttbytes::v5::{
    Connect as ConnectV5, ConnectReturnCode, Login, Packet as PacketV5,
};
use rumqttc::{Packet, QoS, Subscribe, SubscribeFilter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::broker::{
    BrokerConnection, BrokerError, CONNECT_TIMEOUT, KEEP_ALIVE, Options, Received, options,
};
use crate::settings::MqttSettings;

const VERSION: &str = "$SYS/broker/version";
const DROPPED: &str = "$SYS/broker/publish/messages/dropped";
const SUBSCRIBE_ID: u16 = 1;
const SWITCHING_PROTOCOLS: &str = "101";
/// Any 16 bytes, in Base64: the answer to them isn't checked.
const WEB_SOCKET_KEY: &str = "cmlnbGluZS1jaGVja2luZw==";
/// The longest head of an answer to a request for WebSocket.
const MAX_HEAD: usize = 8 << 10;
/// How long to wait for what the broker says about itself. It has retained that, and sends it at once.
const ABOUT_ITSELF: Duration = Duration::from_secs(1);

/// What a broker says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Broker {
    /// Its version, if `$SYS/broker/version` is visible.
    pub version: Option<String>,
    /// How many messages it has dropped since its start, for all of its clients, if that is visible.
    pub dropped: Option<u64>,
}

/// The limits in an MQTT 5 broker's CONNACK; `None` is the protocol's own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The highest quality of service.
    pub max_qos: u8,
    /// How many messages a client may send before the first is acknowledged.
    pub receive_max: Option<u16>,
    /// The largest packet, in bytes.
    pub max_packet: Option<u32>,
}

/// Why a broker can't be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// No connection.
    #[error("{0}")]
    Unreachable(String),
    /// The server isn't trusted, or there is no TLS with it; with the remedy.
    #[error("{0}")]
    Tls(String),
    /// The broker is there, and refuses the login.
    #[error("{0}")]
    Login(String),
    /// Another failure.
    #[error("{0}")]
    Other(String),
}

impl From<BrokerError> for ProbeError {
    fn from(error: BrokerError) -> Self {
        let text = error.to_string();
        match error {
            BrokerError::Unreachable { .. } => Self::Unreachable(text),
            BrokerError::Tls { .. } => Self::Tls(text),
            BrokerError::Login(_) => Self::Login(text),
            _ => Self::Other(text),
        }
    }
}

fn client_id() -> String {
    format!("rigline-check-{:08x}", fastrand::u32(..))
}

async fn open(
    settings: &MqttSettings,
    id: &str,
    clean: bool,
) -> Result<(BrokerConnection, bool), BrokerError> {
    BrokerConnection::open(&options(settings, id, clean)).await
}

fn subscribe<const N: usize>(filters: [&str; N], qos: QoS) -> Packet {
    let filters = filters.map(|filter| SubscribeFilter::new(filter.to_owned(), qos));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = SUBSCRIBE_ID;
    Packet::Subscribe(subscribe)
}

/// Logs in, and nothing else.
pub async fn probe_login(settings: &MqttSettings) -> Result<(), ProbeError> {
    let (connection, _) = open(settings, &client_id(), true).await?;
    connection.close([]).await;
    Ok(())
}

/// Asks for WebSocket with MQTT, and nothing else.
pub async fn probe_web_socket(settings: &MqttSettings) -> Result<(), ProbeError> {
    let options = options(settings, &client_id(), true);
    let asked = timeout(CONNECT_TIMEOUT, ask_for_web_socket(settings, &options)).await;
    let answer = asked.map_err(|_| ProbeError::Other("it doesn't answer".to_owned()))??;
    let status = answer.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some(SWITCHING_PROTOCOLS) => Ok(()),
        Some(_) => Err(ProbeError::Other(format!(
            "it answers a request for WebSocket with {status:?}"
        ))),
        None => Err(ProbeError::Other(
            "it doesn't speak WebSocket at this port".to_owned(),
        )),
    }
}

/// The head of the answer, or as much of it as came.
async fn ask_for_web_socket(
    settings: &MqttSettings,
    options: &Options,
) -> Result<String, BrokerError> {
    let io_error = |error| options.io_error(error);
    let opened = settings.open().await;
    let mut stream = opened.map_err(|error| options.stream_error(error))?;
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEB_SOCKET_KEY}\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n\r\n",
        settings.address()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(io_error)?;
    stream.flush().await.map_err(io_error)?;
    let mut head = BytesMut::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        if stream.read_buf(&mut head).await.map_err(io_error)? == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Logs in, and reads what the broker says about itself.
pub async fn probe_broker(settings: &MqttSettings) -> Result<Broker, ProbeError> {
    let (mut connection, _) = open(settings, &client_id(), true).await?;
    let mut about = Broker::default();
    // A broker that forbids these topics may refuse them, end the connection or send nothing.
    let asks = subscribe([VERSION, DROPPED], QoS::AtMostOnce);
    if connection.send([asks]).await.is_err() {
        return Ok(about);
    }
    let end = Instant::now() + ABOUT_ITSELF;
    while about.version.is_none() || about.dropped.is_none() {
        match timeout_at(end, connection.read()).await {
            Ok(Ok(Received::Publish(publish))) => {
                let text = String::from_utf8_lossy(&publish.payload).into_owned();
                if publish.topic == VERSION {
                    about.version = Some(text);
                } else if publish.topic == DROPPED {
                    about.dropped = text.trim().parse().ok();
                }
            }
            Ok(Ok(Received::SubAck(granted))) if granted.iter().all(Result::is_err) => break,
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => break,
        }
    }
    connection.close([]).await;
    Ok(about)
}

/// Whether the broker keeps a persistent session over a reconnection.
pub async fn keeps_sessions(settings: &MqttSettings) -> Result<bool, ProbeError> {
    let id = client_id();
    let (first, _) = open(settings, &id, false).await?;
    first.close([]).await;
    let (second, is_kept) = open(settings, &id, false).await?;
    second.close([]).await;
    // Ends the session.
    let (last, _) = open(settings, &id, true).await?;
    last.close([]).await;
    Ok(is_kept)
}

/// The quality of service that the broker grants for a filter when 1 is asked for; `None` if it refuses. The
/// messages that it sends meanwhile aren't taken from anybody.
pub async fn probe_subscription(
    settings: &MqttSettings,
    filter: &str,
) -> Result<Option<u8>, ProbeError> {
    let (mut connection, _) = open(settings, &client_id(), true).await?;
    connection
        .send([subscribe([filter], QoS::AtLeastOnce)])
        .await?;
    loop {
        if let Received::SubAck(granted) = connection.read().await? {
            connection.close([]).await;
            return Ok(granted.first().and_then(|granted| granted.ok()));
        }
    }
}

/// The limits that the broker tells clients of MQTT 5; `None` if it speaks 3.1.1 only.
pub async fn probe_limits(settings: &MqttSettings) -> Result<Option<Limits>, ProbeError> {
    let other = |error: &dyn std::error::Error| ProbeError::Other(error.to_string());
    let login = settings.login();
    let connect = PacketV5::Connect(
        ConnectV5 {
            keep_alive: u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX),
            client_id: client_id(),
            clean_start: true,
            properties: None,
        },
        None,
        login.map(|(user, password)| Login::new(user, password)),
    );
    let mut packet = BytesMut::new();
    connect
        .write(&mut packet, None)
        .map_err(|error| other(&error))?;
    // The end of the stream ends the session, too: none was asked to outlive it.
    let answer = async {
        let mut stream = settings.open().await.map_err(|error| other(&error))?;
        let sent = stream.write_all(&packet).await;
        sent.map_err(|error| other(&error))?;
        let flushed = stream.flush().await;
        flushed.map_err(|error| other(&error))?;
        packet.clear();
        loop {
            match PacketV5::read(&mut packet, None) {
                Ok(answer) => return Ok(answer),
                Err(CodecError::InsufficientBytes(_)) => {}
                // As is the answer of a broker of 3.1.1, in its own format.
                Err(error) => return Err(other(&error)),
            }
            if stream
                .read_buf(&mut packet)
                .await
                .map_err(|error| other(&error))?
                == 0
            {
                let error = "the broker closed the connection".to_owned();
                return Err(ProbeError::Other(error));
            }
        }
    };
    let answer = match timeout(CONNECT_TIMEOUT, answer).await {
        Ok(answer) => answer?,
        Err(_) => {
            return Err(ProbeError::Other("the broker doesn't answer".to_owned()));
        }
    };
    let PacketV5::ConnAck(answer) = answer else {
        let error = format!("{answer:?} instead of a CONNACK");
        return Err(ProbeError::Other(error));
    };
    match answer.code {
        ConnectReturnCode::Success => {
            let told = answer.properties.as_ref();
            Ok(Some(Limits {
                max_qos: told.and_then(|told| told.max_qos).unwrap_or(2),
                receive_max: told.and_then(|told| told.receive_max),
                max_packet: told.and_then(|told| told.max_packet_size),
            }))
        }
        ConnectReturnCode::RefusedProtocolVersion
        | ConnectReturnCode::UnsupportedProtocolVersion => Ok(None),
        code => Err(ProbeError::Other(format!("the broker refuses: {code:?}"))),
    }
}
