//! Settings of the addresses besides that of plain MQTT.

use std::net::SocketAddr;
use std::path::PathBuf;

use common::settings::{BadSetting, path};
use common::tls::{ClientCertificates, ServerTls};

use super::{address, given};
use crate::listener::endpoint::Endpoint;
use crate::listener::websocket::Origins;

/// The prefix of the settings of TLS.
const TLS: &str = "MQTT_TLS";

/// Where devices can publish by TLS and by WebSocket.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "MQTT listener")]
pub struct SocketSettings {
    /// Address and port for MQTT with TLS: 0.0.0.0:8883; off by default. It needs a certificate and its key
    #[arg(long, env = "MQTT_TLS_LISTEN", value_name = "ADDR", value_parser = address)]
    pub mqtt_tls_listen: Option<SocketAddr>,
    /// PEM file with the certificate of the listener, followed by those between it and its authority. Read again
    /// on SIGHUP
    #[arg(long, env = "MQTT_TLS_CERT_FILE", value_name = "PATH", value_parser = path())]
    pub mqtt_tls_cert_file: Option<PathBuf>,
    /// PEM file with the certificate's key
    #[arg(long, env = "MQTT_TLS_KEY_FILE", value_name = "PATH", value_parser = path())]
    pub mqtt_tls_key_file: Option<PathBuf>,
    /// PEM file with authorities of clients: with TLS, each client has to show a certificate of one of them, and its
    /// CN is the client's user name, without a password
    #[arg(long, env = "MQTT_TLS_CLIENT_CA_FILE", value_name = "PATH", value_parser = path())]
    pub mqtt_tls_client_ca_file: Option<PathBuf>,
    /// Address and port for MQTT over WebSocket (ws): 127.0.0.1:9001; off by default
    #[arg(long, env = "MQTT_WS_LISTEN", value_name = "ADDR", value_parser = address)]
    pub mqtt_ws_listen: Option<SocketAddr>,
    /// Address and port for MQTT over WebSocket with TLS (wss); off by default
    #[arg(long, env = "MQTT_WSS_LISTEN", value_name = "ADDR", value_parser = address)]
    pub mqtt_wss_listen: Option<SocketAddr>,
    /// Origins of web pages that may publish by WebSocket (`https://plant.example`), comma-separated; `*` for all.
    /// By default all if a login is required, otherwise those of this machine and of the listener's IP address
    #[arg(
        long,
        env = "MQTT_WS_ORIGINS",
        value_name = "ORIGINS",
        value_delimiter = ','
    )]
    pub mqtt_ws_origins: Vec<String>,
}

/// An address to listen at.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The setting that it is from.
    pub(crate) setting: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
}

impl SocketSettings {
    /// Whether clients that use TLS have to show a certificate, by which they log in.
    #[must_use]
    pub fn asks_for_certificates(&self) -> bool {
        given(self.mqtt_tls_client_ca_file.as_ref()).is_some()
    }

    /// The addresses, with the certificate that is read for them. Passwords are `required` or not.
    pub(crate) fn wanted(&self, required: bool) -> Result<Vec<Wanted>, BadSetting> {
        let tls = self.tls()?;
        let certificate_is_login = self.asks_for_certificates();
        let endpoint = |tls: Option<&ServerTls>, is_web_socket: bool| {
            let has_login = required || certificate_is_login && tls.is_some();
            Endpoint {
                tls: tls.cloned(),
                certificate_is_login: certificate_is_login && tls.is_some(),
                web_socket: is_web_socket.then(|| self.origins(has_login)),
            }
        };
        let tls = tls.as_ref();
        let all = [
            (
                "MQTT_TLS_LISTEN",
                self.mqtt_tls_listen,
                endpoint(tls, false),
            ),
            ("MQTT_WS_LISTEN", self.mqtt_ws_listen, endpoint(None, true)),
            ("MQTT_WSS_LISTEN", self.mqtt_wss_listen, endpoint(tls, true)),
        ];
        let wanted = all.into_iter().filter_map(|(setting, address, endpoint)| {
            address.map(|address| Wanted {
                setting,
                address,
                endpoint,
            })
        });
        Ok(wanted.collect())
    }

    fn origins(&self, has_login: bool) -> Origins {
        let given = self.mqtt_ws_origins.iter().map(|origin| origin.trim());
        let given: Vec<String> = given
            .filter(|origin| !origin.is_empty())
            .map(|origin| origin.trim_end_matches('/').to_owned())
            .collect();
        match (given.is_empty(), has_login) {
            (false, _) => Origins::These(given),
            (true, true) => Origins::All,
            (true, false) => Origins::Local,
        }
    }

    /// Reads the certificate, if one is needed.
    fn tls(&self) -> Result<Option<ServerTls>, BadSetting> {
        let files = [
            ("MQTT_TLS_CERT_FILE", &self.mqtt_tls_cert_file),
            ("MQTT_TLS_KEY_FILE", &self.mqtt_tls_key_file),
            ("MQTT_TLS_CLIENT_CA_FILE", &self.mqtt_tls_client_ca_file),
        ];
        let [cert, key, authorities] = files.map(|(_, file)| given(file.as_ref()).cloned());
        if self.mqtt_tls_listen.is_none() && self.mqtt_wss_listen.is_none() {
            for (setting, file) in files {
                if let Some(file) = given(file.as_ref()) {
                    let accepted = "together with MQTT_TLS_LISTEN (--mqtt-tls-listen) or \
                                    MQTT_WSS_LISTEN (--mqtt-wss-listen), where it is used";
                    return Err(BadSetting::new(
                        setting,
                        &file.display().to_string(),
                        accepted,
                    ));
                }
            }
            return Ok(None);
        }
        let needed = |setting: &str| {
            let accepted = "the path of a PEM file, which MQTT_TLS_LISTEN and MQTT_WSS_LISTEN need";
            BadSetting::new(setting, "", accepted)
        };
        let cert = cert.ok_or_else(|| needed("MQTT_TLS_CERT_FILE"))?;
        let key = key.ok_or_else(|| needed("MQTT_TLS_KEY_FILE"))?;
        let clients = authorities.map_or(ClientCertificates::Off, ClientCertificates::Required);
        ServerTls::load(TLS, cert, key, clients).map(Some)
    }
}
