//! Settings of the API.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use common::secret::Secret;
use common::settings::{BadSetting, Settings, path};
use common::tls::{ClientTls, ServerTls};
use http_server::access::MIN_JWT_SECRET;
use http_server::{AccessSettings, certificate};

use crate::systems::ApiPaths;

/// The address that is used unless another is given.
pub(crate) const DEFAULT_ADDR: &str = "127.0.0.1:8050";

/// Where the API listens, and who may use it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "API")]
pub struct ApiSettings {
    /// Address of the HTTP API. If the default one is in use, a free port is used instead; any address that
    /// isn't of this machine needs `API_TOKEN`, `API_JWT_SECRET` or `API_ALLOW_OPEN`
    #[arg(long, env = "API_ADDR", value_name = "ADDRESS", default_value = DEFAULT_ADDR)]
    pub api_addr: SocketAddr,
    /// What is at the paths outside `/api/v1`
    #[arg(long, env = "API_PATHS", value_enum, default_value_t)]
    pub api_paths: ApiPaths,
    /// Token that clients of the API have to send: `Authorization: Bearer TOKEN`. Browsers log in at `/login`
    #[arg(long, env = "API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub api_token: Option<Secret>,
    /// File that holds the token
    #[arg(long, env = "API_TOKEN_FILE", value_name = "PATH", value_parser = path())]
    pub api_token_file: Option<PathBuf>,
    /// Secret that signs JSON Web Tokens (HS256), at least 32 characters. Their claims are `exp` and `scope`: `read`,
    /// or `operate` to replay and discard dead letters, too
    #[arg(
        long,
        env = "API_JWT_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub api_jwt_secret: Option<Secret>,
    /// File that holds the secret
    #[arg(long, env = "API_JWT_SECRET_FILE", value_name = "PATH", value_parser = path())]
    pub api_jwt_secret_file: Option<PathBuf>,
    /// Directory in which `rigline report` writes reports, which are shown at `/reports`
    #[arg(long, env = "REPORT_DIR", value_name = "DIR", value_parser = path())]
    pub report_dir: Option<PathBuf>,
    /// File with the certificate of the API, in PEM, followed by those between it and its authority: with it, the API
    /// and the dashboard are at https. It is read again at SIGHUP
    #[arg(long, env = "API_TLS_CERT_FILE", value_name = "PATH", value_parser = path())]
    pub api_tls_cert_file: Option<PathBuf>,
    /// File with the key of that certificate
    #[arg(long, env = "API_TLS_KEY_FILE", value_name = "PATH", value_parser = path())]
    pub api_tls_key_file: Option<PathBuf>,
    /// File with certificates of authorities, in PEM, that are trusted besides those of the machine to vouch for
    /// webhooks of alerts at https
    #[arg(long, env = "WEBHOOK_CA_FILE", value_name = "PATH", value_parser = path())]
    pub webhook_ca_file: Option<PathBuf>,
    /// Let everyone who reaches the address read and change all data without a token
    #[arg(long, env = "API_ALLOW_OPEN")]
    pub api_allow_open: bool,
}

/// Whether a path isn't empty.
fn is_given(path: Option<&PathBuf>) -> bool {
    path.is_some_and(|path| !path.as_os_str().is_empty())
}

impl ApiSettings {
    /// Whether clients have to send a token.
    #[must_use]
    pub const fn requires_token(&self) -> bool {
        self.api_token.is_some() || self.api_jwt_secret.is_some()
    }

    /// The certificate, if there is one.
    pub(crate) fn tls(&self) -> Result<Option<ServerTls>, BadSetting> {
        certificate(
            ["API_TLS", "API_TLS_CERT_FILE", "API_TLS_KEY_FILE"],
            self.api_tls_cert_file.as_ref(),
            self.api_tls_key_file.as_ref(),
        )
    }

    /// Who may use it.
    pub(crate) fn access(&self) -> AccessSettings {
        AccessSettings {
            prefix: "API",
            how: "log in at /login, or send the token of API_TOKEN or one that API_JWT_SECRET signs: \
                  Authorization: Bearer TOKEN",
            token: self.api_token.clone(),
            jwt_secret: self.api_jwt_secret.clone(),
            is_https: self.is_https(),
        }
    }

    /// Whether the API is at https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        is_given(self.api_tls_cert_file.as_ref())
    }

    /// What is trusted to vouch for webhooks.
    #[must_use]
    pub fn webhook_tls(&self) -> ClientTls {
        ClientTls::with_only_ca("WEBHOOK", self.webhook_ca_file.clone())
    }

    /// Whether the address was not chosen by the operator.
    pub(crate) fn is_default(&self) -> bool {
        DEFAULT_ADDR.parse() == Ok(self.api_addr)
    }
}

impl Settings for ApiSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        Secret::resolve("API_TOKEN", &mut self.api_token, &mut self.api_token_file)?;
        Secret::resolve(
            "API_JWT_SECRET",
            &mut self.api_jwt_secret,
            &mut self.api_jwt_secret_file,
        )?;
        self.tls()?;
        if is_given(self.webhook_ca_file.as_ref()) {
            self.webhook_tls().config()?;
        }
        let secret = self.api_jwt_secret.as_ref();
        BadSetting::unless(
            secret.is_none_or(|secret| secret.expose().len() >= MIN_JWT_SECRET),
            "API_JWT_SECRET",
            "a secret that is too short",
            "at least 32 characters: `openssl rand -hex 32` prints one",
        )?;
        let is_guarded = secret.is_some() || self.api_token.is_some() || self.api_allow_open;
        BadSetting::unless(
            is_guarded || self.api_addr.ip().is_loopback(),
            "API_ADDR",
            &self.api_addr.to_string(),
            "an address of this machine (127.0.0.1:8050), or any together with API_TOKEN, API_JWT_SECRET or API_ALLOW_OPEN=true",
        )
    }
}
