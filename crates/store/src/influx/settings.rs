//! Settings of the `InfluxDB` store.

use std::path::PathBuf;
use std::time::Duration;

use common::secret::Secret;
use common::settings::{BadSetting, InfluxTls, Settings, not_empty, path, positive_duration};
use reqwest::Url;

const URL_FORMS: &str = "http:// or https://, a host and maybe a port, as in \
    http://localhost:8086; no path, no user name or password (see INFLUX_TOKEN)";

/// Server and bucket that rows are written to and read from. Proxies of the environment (such as `HTTP_PROXY`) aren't
/// used: the server is expected in the same network.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "InfluxDB")]
pub struct InfluxSettings {
    /// Address of InfluxDB 2, with `https:` for TLS
    #[arg(
        long = "influx-url",
        env = "INFLUX_URL",
        value_name = "URL",
        default_value = "http://localhost:8086"
    )]
    pub url: String,
    /// Token that may write to the bucket; for the HTTP API, read it, too
    #[arg(
        long = "influx-token",
        env = "INFLUX_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<Secret>,
    /// File that holds the token
    #[arg(
        long = "influx-token-file",
        env = "INFLUX_TOKEN_FILE",
        value_name = "PATH",
        value_parser = path()
    )]
    pub token_file: Option<PathBuf>,
    /// Organisation that owns the bucket
    #[arg(
        long = "influx-org",
        env = "INFLUX_ORG",
        value_name = "NAME",
        default_value = "my-org",
        value_parser = not_empty
    )]
    pub org: String,
    /// Bucket to write to
    #[arg(
        long = "influx-bucket",
        env = "INFLUX_BUCKET",
        value_name = "NAME",
        default_value = "rigs",
        value_parser = not_empty
    )]
    pub bucket: String,
    /// How long a write may take before it is tried again, and how long a query may be silent
    #[arg(
        long = "influx-timeout",
        env = "INFLUX_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = positive_duration
    )]
    pub timeout: Duration,
    /// What is trusted and shown with TLS.
    #[command(flatten)]
    pub tls: InfluxTls,
}

impl InfluxSettings {
    /// Whether the server is reached with TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("https:")
    }
}

impl Settings for InfluxSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        checked_url(&self.url)?;
        if self.is_https() {
            self.tls.client().config()?;
        }
        Secret::resolve("INFLUX_TOKEN", &mut self.token, &mut self.token_file)?;
        let in_header = |secret: &Secret| secret.expose().bytes().all(|b| b.is_ascii_graphic());
        BadSetting::unless(
            self.token.as_ref().is_none_or(in_header),
            "INFLUX_TOKEN",
            "***",
            "printable ASCII without spaces, as InfluxDB makes its tokens",
        )
    }
}

/// Checks that a client accepts the URL.
pub(super) fn checked_url(given: &str) -> Result<Url, BadSetting> {
    let usable = Url::parse(given).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    usable.ok_or_else(|| {
        let shown = match given.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => given.to_owned(),
        };
        BadSetting::new("INFLUX_URL", &shown, URL_FORMS)
    })
}
