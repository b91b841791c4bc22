//! Clients that speak another protocol than the port that they have connected to.

use std::fmt;
use std::net::SocketAddr;

/// What a client speaks, as its first bytes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Mqtt,
    Tls,
    Http,
    WebSocket,
}

/// The addresses of the listener, by what is spoken there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ports {
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) tls: Option<SocketAddr>,
    pub(crate) web_socket: Option<SocketAddr>,
    pub(crate) web_socket_tls: Option<SocketAddr>,
}

/// A client that speaks this at the wrong port. The text follows the name of the client in the log, and says
/// which port it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mismatch {
    pub(crate) speaks: Speaks,
    pub(crate) ports: Ports,
    /// The port is for TLS.
    pub(crate) at_tls: bool,
}

impl Mismatch {
    /// What a client speaks that begins with these bytes; `None` if they don't show it.
    pub(crate) fn of(bytes: &[u8]) -> Option<Speaks> {
        const METHODS: [&[u8]; 9] = [
            b"GET ",
            b"POST ",
            b"HEAD ",
            b"PUT ",
            b"OPTIONS ",
            b"DELETE ",
            b"PATCH ",
            b"CONNECT ",
            b"PRI ",
        ];
        match bytes {
            // A ClientHello, in a record of any version.
            [0x16, 0x03, ..] => Some(Speaks::Tls),
            [0x10, ..] => Some(Speaks::Mqtt),
            _ if METHODS.iter().any(|method| bytes.starts_with(method)) => {
                let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
                Some(if text.contains("\nupgrade: websocket") {
                    Speaks::WebSocket
                } else {
                    Speaks::Http
                })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ports {
            mqtt,
            tls,
            web_socket,
            web_socket_tls,
        } = self.ports;
        let (what, port, setting) = match (self.speaks, self.at_tls) {
            (Speaks::Http, _) => {
                return f.write_str(
                    "it speaks HTTP to a port for MQTT: the dashboard and the HTTP API are at the port \
                     of API_ADDR, 8050 by default",
                );
            }
            (Speaks::Tls, _) => (
                "TLS to a port without it: MQTT with TLS",
                tls,
                "MQTT_TLS_LISTEN",
            ),
            (Speaks::Mqtt, _) => (
                "plain MQTT to another port: plain MQTT",
                mqtt,
                "MQTT_LISTEN",
            ),
            (Speaks::WebSocket, true) => (
                "WebSocket to a port for MQTT with TLS: MQTT over WebSocket with TLS",
                web_socket_tls,
                "MQTT_WSS_LISTEN",
            ),
            (Speaks::WebSocket, false) => (
                "WebSocket to a port for plain MQTT: MQTT over WebSocket",
                web_socket,
                "MQTT_WS_LISTEN",
            ),
        };
        write!(f, "it speaks {what} ")?;
        match port {
            Some(port) => write!(f, "is at {port} ({setting})"),
            None => write!(f, "is off, {setting} turns it on"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mismatch, Ports, Speaks};

    #[test]
    fn first_bytes_show_what_a_client_speaks() {
        for (bytes, speaks) in [
            (b"\x16\x03\x01\x02\0".as_slice(), Some(Speaks::Tls)),
            (b"\x10\x0c\0\x04MQTT", Some(Speaks::Mqtt)),
            (b"GET / HTTP/1.1\r\n", Some(Speaks::Http)),
            (
                b"GET /mqtt HTTP/1.1\r\nUpgrade: WebSocket\r\n",
                Some(Speaks::WebSocket),
            ),
            (b"PRI * HTTP/2.0\r\n", Some(Speaks::Http)),
            (b"GE", None),
            (b"\x16", None),
            (b"\x30\x03", None),
            (b"", None),
        ] {
            assert_eq!(Mismatch::of(bytes), speaks, "{bytes:?}");
        }
    }

    #[test]
    fn the_text_names_the_port_to_use() {
        let ports = Ports {
            tls: Some(([127, 0, 0, 1], 8883).into()),
            ..Ports::default()
        };
        let text = |speaks, at_tls| {
            Mismatch {
                speaks,
                ports,
                at_tls,
            }
            .to_string()
        };
        assert!(text(Speaks::Tls, false).ends_with("is at 127.0.0.1:8883 (MQTT_TLS_LISTEN)"));
        let off = text(Speaks::WebSocket, false);
        assert!(off.ends_with("is off, MQTT_WS_LISTEN turns it on"), "{off}");
        assert!(text(Speaks::Http, true).contains("8050"));
    }
}
