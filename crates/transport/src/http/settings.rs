//! Where messages are taken over HTTP, and from whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use common::secret::Secret;
use common::settings::{BadSetting, Settings, path};
use common::tls::ServerTls;
use http_server::{AccessSettings, HttpListener, certificate};

/// The address that is used unless another is given.
const DEFAULT_ADDR: &str = "127.0.0.1:8070";

/// The listener of pipelines whose source is HTTP.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP source")]
pub struct HttpSettings {
    /// Address at which pipelines with kind = "http" take messages. If the default one is in use, a free port is used
    /// instead; any address that isn't of this machine needs `HTTP_TOKEN` or `HTTP_ALLOW_OPEN`
    #[arg(long, env = "HTTP_ADDR", value_name = "ADDRESS", default_value = DEFAULT_ADDR)]
    pub http_addr: SocketAddr,
    /// Token that devices have to send: `Authorization: Bearer TOKEN`
    #[arg(long, env = "HTTP_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub http_token: Option<Secret>,
    /// File that holds the token. It is read again at SIGHUP
    #[arg(long, env = "HTTP_TOKEN_FILE", value_name = "PATH", value_parser = path())]
    pub http_token_file: Option<PathBuf>,
    /// File with the certificate of that address, in PEM, followed by those between it and its authority: with it,
    /// devices use https. It is read again at SIGHUP
    #[arg(long, env = "HTTP_TLS_CERT_FILE", value_name = "PATH", value_parser = path())]
    pub http_tls_cert_file: Option<PathBuf>,
    /// File with the key of that certificate
    #[arg(long, env = "HTTP_TLS_KEY_FILE", value_name = "PATH", value_parser = path())]
    pub http_tls_key_file: Option<PathBuf>,
    /// Take messages from everyone who reaches the address, without a token
    #[arg(long, env = "HTTP_ALLOW_OPEN")]
    pub http_allow_open: bool,
}

impl HttpSettings {
    fn tls(&self) -> Result<Option<ServerTls>, BadSetting> {
        certificate(
            ["HTTP_TLS", "HTTP_TLS_CERT_FILE", "HTTP_TLS_KEY_FILE"],
            self.http_tls_cert_file.as_ref(),
            self.http_tls_key_file.as_ref(),
        )
    }

    /// Opens the listener.
    pub async fn bind(&self) -> anyhow::Result<HttpListener> {
        let is_default = DEFAULT_ADDR.parse() == Ok(self.http_addr);
        let (addr, tls) = (self.http_addr, self.tls()?);
        HttpListener::bind("HTTP source", "HTTP_ADDR", addr, is_default, tls).await
    }

    /// Whose messages are taken.
    pub(super) fn access(&self) -> AccessSettings {
        AccessSettings {
            prefix: "HTTP",
            how: "send the token of HTTP_TOKEN: Authorization: Bearer TOKEN",
            token: self.http_token.clone(),
            jwt_secret: None,
            is_https: self.http_tls_cert_file.is_some(),
        }
    }
}

impl Settings for HttpSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        let (given, file) = (&mut self.http_token, &mut self.http_token_file);
        Secret::resolve("HTTP_TOKEN", given, file)?;
        self.tls()?;
        let is_guarded = self.http_token.is_some() || self.http_allow_open;
        BadSetting::unless(
            is_guarded || self.http_addr.ip().is_loopback(),
            "HTTP_ADDR",
            &self.http_addr.to_string(),
            "an address of this machine (127.0.0.1:8070), or any together with HTTP_TOKEN or HTTP_ALLOW_OPEN=true",
        )
    }
}
