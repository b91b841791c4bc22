//! The broker, or the listener of `rigline up`.

use std::net::SocketAddr;

use transport::{
    Broker, Limits, MqttSettings, ProbeError, SocketSettings, keeps_sessions, probe_broker,
    probe_limits, probe_login, probe_subscription, probe_web_socket,
};

use super::line::{Line, SEE_TLS, limited};

const BROKER: &str = "MQTT broker";
const LOGIN: &str = "MQTT login";
const SESSION: &str = "MQTT session";
const SUBSCRIPTION: &str = "MQTT subscription";
const LIMITS: &str = "MQTT limits";
const DROPPED: &str = "MQTT dropped messages";
const DISK: &str = "MQTT persistence";
const LISTENER: &str = "MQTT listener";
const LISTENER_TLS: &str = "MQTT listener, TLS";
const LISTENER_WS: &str = "MQTT listener, WebSocket";
const LISTENER_WSS: &str = "MQTT listener, WebSocket with TLS";

/// Packets of a reading are smaller than this: the topic, and a payload of `MAX_PAYLOAD`'s default.
const LARGE: u32 = 128 << 10;
const CHECK_LOGIN: &str = "check MQTT_USERNAME and MQTT_PASSWORD, and the broker's password file";

fn address(settings: &MqttSettings) -> String {
    settings.address()
}

/// The lines about a broker of the four stages, which subscribe to `filters`.
pub(super) async fn broker(settings: &MqttSettings, filters: &[String]) -> Vec<Line> {
    let about = match limited(BROKER, probe_broker(settings)).await {
        Ok(Ok(about)) => about,
        Ok(Err(error)) => return refused(settings, BROKER, "start the broker", error),
        Err(line) => return vec![line],
    };
    let version = about.version.as_deref().unwrap_or("version not visible");
    let mut lines = accepted(settings, BROKER, version);
    let subscriptions = async {
        let mut lines = Vec::new();
        for filter in filters {
            let found = limited(SUBSCRIPTION, probe_subscription(settings, filter)).await;
            lines.push(found.map_or_else(|line| line, |found| subscription_line(filter, found)));
        }
        lines
    };
    let (session, subscriptions, limits) = tokio::join!(
        limited(SESSION, keeps_sessions(settings)),
        subscriptions,
        limited(LIMITS, probe_limits(settings)),
    );
    lines.push(session.map_or_else(|line| line, session_line));
    lines.extend(subscriptions);
    lines.push(limits.map_or_else(|line| line, limits_line));
    lines.push(dropped_line(&about));
    lines.push(Line::warn(
        DISK,
        "not visible over the network: persistence, autosave_interval, max_queued_messages. A broker that \
         is killed may lose messages that it has acknowledged, whatever its settings",
        "compare its configuration with mosquitto/config/mosquitto.conf; `rigline up` acknowledges only \
         what is on disk",
    ));
    lines
}

/// The lines about the listener of `rigline up`.
pub(super) async fn listener(settings: &MqttSettings) -> Vec<Line> {
    match limited(LISTENER, probe_login(settings)).await {
        Ok(Ok(())) => accepted(settings, LISTENER, "takes connections"),
        // The logins of devices needn't be known to who checks.
        Ok(Err(ProbeError::Login(_))) if settings.mqtt_username.is_empty() => {
            let next = "set MQTT_USERNAME and MQTT_PASSWORD to try a device's login";
            vec![
                Line::ok(LISTENER, address(settings)),
                Line::warn(LOGIN, "it asks for one, and none was given", next),
            ]
        }
        Ok(Err(error)) => refused(settings, LISTENER, "start `rigline up`", error),
        Err(line) => vec![line],
    }
}

/// A port of `rigline up` besides that of plain MQTT.
#[derive(Debug, Clone, Copy)]
struct OtherPort {
    check: &'static str,
    listens_at: Option<SocketAddr>,
    is_tls: bool,
    is_web_socket: bool,
}

/// The lines about the ports of `rigline up` for TLS and WebSocket that the settings name.
pub(super) async fn other_ports(settings: &MqttSettings, sockets: &SocketSettings) -> Vec<Line> {
    let (tls, web_socket, both) = (
        OtherPort {
            check: LISTENER_TLS,
            listens_at: sockets.mqtt_tls_listen,
            is_tls: true,
            is_web_socket: false,
        },
        OtherPort {
            check: LISTENER_WS,
            listens_at: sockets.mqtt_ws_listen,
            is_tls: false,
            is_web_socket: true,
        },
        OtherPort {
            check: LISTENER_WSS,
            listens_at: sockets.mqtt_wss_listen,
            is_tls: true,
            is_web_socket: true,
        },
    );
    let wants_certificate = sockets.asks_for_certificates();
    let (tls, web_socket, both) = tokio::join!(
        other_port(settings, tls, wants_certificate),
        other_port(settings, web_socket, false),
        other_port(settings, both, wants_certificate),
    );
    [tls, web_socket, both].into_iter().flatten().collect()
}

async fn other_port(
    settings: &MqttSettings,
    port: OtherPort,
    wants_certificate: bool,
) -> Option<Line> {
    let check = port.check;
    let mut settings = settings.clone();
    settings.mqtt_port = Some(port.listens_at?.port());
    settings.mqtt_tls = port.is_tls;
    let at = address(&settings);
    if wants_certificate && settings.tls.client().cert_file.is_none() {
        let detail = format!("{at} asks clients for a certificate, and none was given");
        let next = "set MQTT_CERT_FILE and MQTT_KEY_FILE to try a device's certificate";
        return Some(Line::warn(check, detail, next));
    }
    let probe = async {
        if port.is_web_socket {
            probe_web_socket(&settings).await
        } else {
            probe_login(&settings).await
        }
    };
    Some(match limited(check, probe).await {
        Ok(Ok(())) => Line::ok(check, format!("{at}, takes connections")),
        // Another line is about the login.
        Ok(Err(ProbeError::Login(_))) => Line::ok(check, at),
        Ok(Err(ProbeError::Tls(detail))) => Line::bad(check, detail, SEE_TLS),
        Ok(Err(error)) => {
            let next = "start `rigline up` with the same settings, or check MQTT_HOST";
            Line::bad(check, error.to_string(), next)
        }
        Err(line) => line,
    })
}

fn accepted(settings: &MqttSettings, check: &'static str, more: &str) -> Vec<Line> {
    let who = match settings.mqtt_username.as_str() {
        "" => "accepted without a user".to_owned(),
        user => format!("accepted as {user}"),
    };
    let at = address(settings);
    vec![
        Line::ok(check, format!("{at}, {more}")),
        Line::ok(LOGIN, who),
    ]
}

fn refused(
    settings: &MqttSettings,
    check: &'static str,
    start: &str,
    error: ProbeError,
) -> Vec<Line> {
    match error {
        ProbeError::Login(detail) => vec![
            Line::ok(check, address(settings)),
            Line::bad(LOGIN, detail, CHECK_LOGIN),
        ],
        ProbeError::Unreachable(detail) => {
            let next = format!("{start}, or check MQTT_HOST and MQTT_PORT");
            vec![Line::bad(check, detail, next)]
        }
        ProbeError::Tls(detail) => vec![Line::bad(check, detail, SEE_TLS)],
        ProbeError::Other(detail) => {
            vec![Line::bad(check, detail, "look into the broker's log")]
        }
    }
}

fn failed(check: &'static str, error: &ProbeError) -> Line {
    Line::bad(check, error.to_string(), "look into the broker's log")
}

fn session_line(found: Result<bool, ProbeError>) -> Line {
    match found {
        Ok(true) => Line::ok(SESSION, "kept over a reconnection"),
        Ok(false) => Line::bad(
            SESSION,
            "not kept over a reconnection: messages of the time without the ingester are lost",
            "allow persistent sessions of MQTT 3.1.1 clients (clean session 0)",
        ),
        Err(error) => failed(SESSION, &error),
    }
}

fn subscription_line(filter: &str, found: Result<Option<u8>, ProbeError>) -> Line {
    match found {
        Ok(Some(1)) => Line::ok(SUBSCRIPTION, format!("{filter} at QoS 1")),
        Ok(Some(qos)) => Line::bad(
            SUBSCRIPTION,
            format!("{filter} at QoS {qos} only: messages aren't sent again when they are lost"),
            "let the broker grant QoS 1",
        ),
        Ok(None) => Line::bad(
            SUBSCRIPTION,
            format!("{filter} is refused"),
            "check the broker's access rules for this user, or MQTT_TOPIC",
        ),
        Err(error) => failed(SUBSCRIPTION, &error),
    }
}

fn limits_line(found: Result<Option<Limits>, ProbeError>) -> Line {
    let limits = match found {
        Ok(Some(limits)) => limits,
        Ok(None) => {
            return Line::ok(LIMITS, "not visible: the broker speaks MQTT 3.1.1 only");
        }
        Err(error) => return Line::ok(LIMITS, format!("not visible: {error}")),
    };
    let Limits {
        max_qos,
        receive_max,
        max_packet,
    } = limits;
    let window = receive_max.map_or("65535".to_owned(), |most| most.to_string());
    let packet = max_packet.map_or("not limited".to_owned(), |most| format!("{most} bytes"));
    let detail = format!("QoS up to {max_qos}, {window} messages in flight, packets {packet}");
    if max_qos == 0 {
        return Line::bad(LIMITS, detail, "allow QoS 1: set the broker's max_qos");
    }
    if max_packet.is_some_and(|most| most < LARGE) {
        let next = "raise max_packet_size: the broker drops larger messages";
        return Line::warn(LIMITS, detail, next);
    }
    if receive_max.is_some_and(|most| most < 100) {
        let next = "set max_inflight_messages to 1000: each message in flight waits for an append";
        return Line::warn(LIMITS, detail, next);
    }
    Line::ok(LIMITS, detail)
}

fn dropped_line(about: &Broker) -> Line {
    match about.dropped {
        None => Line::ok(DROPPED, "their number isn't visible"),
        Some(0) => Line::ok(DROPPED, "none since the broker's start"),
        Some(dropped) => Line::warn(
            DROPPED,
            format!("{dropped} since the broker's start, of all its clients"),
            "raise max_queued_messages and max_queued_bytes, or find out why a subscriber was away",
        ),
    }
}

#[cfg(test)]
mod tests {
    use transport::{Broker, Limits, ProbeError};

    use super::super::line::Status;
    use super::{dropped_line, limits_line, session_line, subscription_line};

    #[test]
    fn what_breaks_the_promise_is_bad() {
        assert_eq!(session_line(Ok(true)).status, Status::Ok);
        assert_eq!(session_line(Ok(false)).status, Status::Bad);
        let of = |granted| subscription_line("rigs/#", granted).status;
        assert_eq!(of(Ok(Some(1))), Status::Ok);
        assert_eq!(of(Ok(Some(0))), Status::Bad);
        assert_eq!(of(Ok(None)), Status::Bad);
        assert_eq!(of(Err(ProbeError::Other(String::new()))), Status::Bad);
    }

    #[test]
    fn small_limits_are_warned_of_and_invisible_ones_are_not_bad() {
        let good = Limits {
            max_qos: 2,
            receive_max: Some(1_000),
            max_packet: None,
        };
        for (limits, status) in [
            (good, Status::Ok),
            (Limits { max_qos: 0, ..good }, Status::Bad),
            (
                Limits {
                    receive_max: Some(20),
                    ..good
                },
                Status::Warn,
            ),
            (
                Limits {
                    max_packet: Some(1_000),
                    ..good
                },
                Status::Warn,
            ),
        ] {
            assert_eq!(limits_line(Ok(Some(limits))).status, status, "{limits:?}");
        }
        assert_eq!(limits_line(Ok(None)).status, Status::Ok);
        for (dropped, status) in [
            (None, Status::Ok),
            (Some(0), Status::Ok),
            (Some(3), Status::Warn),
        ] {
            let about = Broker {
                version: None,
                dropped,
            };
            assert_eq!(dropped_line(&about).status, status);
        }
    }
}
