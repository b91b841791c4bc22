//! Streams of an HTTP server as a source: a line an item, from any place on.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use common::secret::Secret;
use common::settings::{BadSetting, path};
use common::tls::ClientTls;
use model::pipeline::{LimitsTable, PipelineFile};
use percent_encoding::percent_decode_str;
use url::Url;

mod client;
mod line;
mod source;

pub use self::source::{HttpStreamSource, HttpStreamTicket};

/// A connection on which nothing came for this long is given up. Servers send an empty line every 10 s.
const SILENCE: Duration = Duration::from_secs(30);

/// TLS of pipelines whose source is a stream at https.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "HTTP streams")]
pub struct HttpStreamTls {
    /// File with certificates of authorities, in PEM, that are trusted besides those of the machine to vouch for
    /// servers of kind = "http-stream" at https
    #[arg(long, env = "HTTP_STREAM_CA_FILE", value_name = "PATH", value_parser = path())]
    pub http_stream_ca_file: Option<PathBuf>,
}

/// A stream that is read.
#[derive(Debug, Clone)]
pub struct HttpStreamSettings {
    /// Its address, without a login.
    url: Url,
    /// The user and the password.
    login: Option<(String, Secret)>,
    token: Option<Secret>,
    tls: ClientTls,
    /// Larger items are dead letters, so they needn't be kept whole.
    max_payload: usize,
    silence: Duration,
}

impl HttpStreamSettings {
    /// The stream of a pipeline file.
    pub fn of_file(file: &PipelineFile, tls: &HttpStreamTls) -> Result<Self, BadSetting> {
        let (source, limits) = (&file.source, &file.limits);
        let given = source.url.as_deref().map_or("", String::as_str);
        let url = Url::parse(given);
        let mut url = url.map_err(|error| {
            let name = file.name.as_str();
            BadSetting::File(format!(
                "the url of the pipeline {name} can't be used: {error}"
            ))
        })?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let password = decoded(url.password().unwrap_or_default());
        let user = Some(decoded(url.username())).filter(|user| !user.is_empty());
        // They fail only for URLs without a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let max_payload = limits.max_payload.as_deref().copied();
        let token = source.token.as_deref().filter(|token| !token.is_empty());
        Ok(Self {
            url,
            login: user.map(|user| (user, Secret::new(password))),
            token: token.map(|token| Secret::new(token.as_str())),
            tls: ClientTls::with_only_ca("HTTP_STREAM", tls.http_stream_ca_file.clone()),
            max_payload: max_payload.unwrap_or(LimitsTable::MAX_PAYLOAD),
            silence: SILENCE,
        })
    }

    /// Gives up a connection on which nothing came for this long.
    #[must_use]
    pub fn with_silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// Checks the files of TLS, if they are needed.
    pub fn check(&self) -> Result<(), BadSetting> {
        self.tls.config_if(self.url.scheme() == "https").map(|_| ())
    }

    /// Asks for the stream, and reads none of it. Returns what is wrong.
    pub async fn probe(&self) -> Result<(), String> {
        let opened = client::Body::open(self, "").await;
        opened.map(drop).map_err(|error| error.to_string())
    }

    /// The topic of its messages: the path.
    fn topic(&self) -> String {
        self.url.path().trim_start_matches('/').to_owned()
    }
}
