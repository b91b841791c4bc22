//! Settings of the API.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use common::secret::Secret;
use common::settings::{BadSetting, Settings, path};

/// The address that is used unless another is given.
pub(crate) const DEFAULT_ADDR: &str = "127.0.0.1:8050";

/// Where the API listens, and who may use it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "API")]
pub struct ApiSettings {
    /// Address of the HTTP API. If the default one is in use, a free port is used instead; any address that
    /// isn't of this machine needs `API_TOKEN` or `API_ALLOW_OPEN`
    #[arg(long, env = "API_ADDR", value_name = "ADDRESS", default_value = DEFAULT_ADDR)]
    pub api_addr: SocketAddr,
    /// Token that clients of the API have to send: `Authorization: Bearer TOKEN`
    #[arg(long, env = "API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub api_token: Option<Secret>,
    /// File that holds the token
    #[arg(long, env = "API_TOKEN_FILE", value_name = "PATH", value_parser = path())]
    pub api_token_file: Option<PathBuf>,
    /// Let everyone who reaches the address read all data without a token
    #[arg(long, env = "API_ALLOW_OPEN")]
    pub api_allow_open: bool,
}

impl ApiSettings {
    /// Whether the address was not chosen by the operator.
    pub(crate) fn is_default(&self) -> bool {
        DEFAULT_ADDR.parse() == Ok(self.api_addr)
    }
}

impl Settings for ApiSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        Secret::resolve("API_TOKEN", &mut self.api_token, &mut self.api_token_file)?;
        let is_guarded = self.api_token.is_some() || self.api_allow_open;
        BadSetting::unless(
            is_guarded || self.api_addr.ip().is_loopback(),
            "API_ADDR",
            &self.api_addr.to_string(),
            "an address of this machine (127.0.0.1:8050), or any together with API_TOKEN or API_ALLOW_OPEN=true",
        )
    }
}
