//! The command `feed`: files of JSON items as streams of an HTTP API.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use common::cli::Program;
use common::harness::{self, Process};
use common::secret::Secret;
use common::settings::{BadSetting, Settings, duration, path};
use common::tls::ServerTls;
use http_server::{Access, AccessSettings, HttpListener, certificate};

mod file;
mod reading;
mod scanner;
mod server;

use self::file::OpenFile;
use self::server::Streams;

const PROGRAM: Program = Program {
    name: "feed",
    about: "Streams files of JSON items over HTTP, an item a line, from any place on",
    admin_addr: "127.0.0.1:9106",
    log_filter: "info",
};

/// The address that is used unless another is given.
const DEFAULT_ADDR: &str = "127.0.0.1:8060";

/// All settings.
#[derive(Debug, Clone, Args)]
pub(crate) struct FeedSettings {
    /// Files that are JSON arrays, each with the name of its stream: metrics=data/metrics.json is at /metrics
    #[arg(value_name = "NAME=FILE", value_parser = named_file)]
    files: Vec<NamedFile>,
    /// Where and how it streams.
    #[command(flatten)]
    http: FeedHttp,
}

/// Where and how files are streamed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Feed")]
struct FeedHttp {
    /// Address of the streams. If the default one is in use, a free port is used instead; any address that isn't of
    /// this machine needs `FEED_TOKEN` or `FEED_ALLOW_OPEN`
    #[arg(long, env = "FEED_ADDR", value_name = "ADDRESS", default_value = DEFAULT_ADDR)]
    listen: SocketAddr,
    /// Pause after each item, of each reader
    #[arg(long, env = "FEED_INTERVAL", value_name = "DURATION", default_value = "50ms",
        value_parser = duration, conflicts_with = "speed")]
    interval: Duration,
    /// Instead of the pause: as fast as readers take items
    #[arg(long, env = "FEED_SPEED", value_enum)]
    speed: Option<Speed>,
    /// Token that readers have to send: `Authorization: Bearer TOKEN`
    #[arg(long, env = "FEED_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// File that holds the token. It is read again at SIGHUP
    #[arg(long, env = "FEED_TOKEN_FILE", value_name = "PATH", value_parser = path())]
    token_file: Option<PathBuf>,
    /// File with the certificate of that address, in PEM, followed by those between it and its authority: with it,
    /// readers use https. It is read again at SIGHUP
    #[arg(long, env = "FEED_TLS_CERT_FILE", value_name = "PATH", value_parser = path())]
    tls_cert_file: Option<PathBuf>,
    /// File with the key of that certificate
    #[arg(long, env = "FEED_TLS_KEY_FILE", value_name = "PATH", value_parser = path())]
    tls_key_file: Option<PathBuf>,
    /// Answer everyone who reaches the address, without a token
    #[arg(long, env = "FEED_ALLOW_OPEN")]
    allow_open: bool,
}

/// How fast items are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Speed {
    /// Without pauses
    Max,
}

/// A file and the name of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedFile {
    name: String,
    path: PathBuf,
}

fn named_file(text: &str) -> Result<NamedFile, String> {
    let accepted =
        "a name of small letters, digits, - and _, then = and a file: metrics=data/metrics.json";
    let is_valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    match text.split_once('=') {
        Some((name, path))
            if !name.is_empty() && !path.is_empty() && name.bytes().all(is_valid) =>
        {
            Ok(NamedFile {
                name: name.to_owned(),
                path: path.into(),
            })
        }
        _ => Err(accepted.to_owned()),
    }
}

impl FeedHttp {
    fn tls(&self) -> Result<Option<ServerTls>, BadSetting> {
        certificate(
            ["FEED_TLS", "FEED_TLS_CERT_FILE", "FEED_TLS_KEY_FILE"],
            self.tls_cert_file.as_ref(),
            self.tls_key_file.as_ref(),
        )
    }

    fn access(&self) -> AccessSettings {
        AccessSettings {
            prefix: "FEED",
            how: "send the token of FEED_TOKEN: Authorization: Bearer TOKEN",
            token: self.token.clone(),
            jwt_secret: None,
            is_https: self.tls_cert_file.is_some(),
        }
    }

    fn pause(&self) -> Option<Duration> {
        let pause = self.speed.is_none().then_some(self.interval);
        pause.filter(|pause| !pause.is_zero())
    }
}

impl Settings for FeedSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        let http = &mut self.http;
        Secret::resolve("FEED_TOKEN", &mut http.token, &mut http.token_file)?;
        http.tls()?;
        let is_guarded = http.token.is_some() || http.allow_open;
        BadSetting::unless(
            is_guarded || http.listen.ip().is_loopback(),
            "FEED_ADDR (--listen)",
            &http.listen.to_string(),
            "an address of this machine (127.0.0.1:8060), or any together with FEED_TOKEN or FEED_ALLOW_OPEN=true",
        )?;
        let example = "one file or more, each with a name of its own: metrics=data/metrics.json";
        BadSetting::unless(!self.files.is_empty(), "NAME=FILE", "", example)?;
        for (place, file) in self.files.iter().enumerate() {
            let is_new = self.files[..place].iter().all(|it| it.name != file.name);
            BadSetting::unless(is_new, "NAME=FILE", &file.name, example)?;
            OpenFile::open(&file.path).map_err(|error| {
                let accepted = format!("a readable file that is a JSON array ({error})");
                BadSetting::new(&file.name, &file.path.display().to_string(), &accepted)
            })?;
        }
        Ok(())
    }
}

/// Runs until a signal. `args` start with the program's name.
pub(crate) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

async fn run(settings: FeedSettings, process: Process) -> anyhow::Result<()> {
    let http = &settings.http;
    let is_default = DEFAULT_ADDR.parse() == Ok(http.listen);
    let listener =
        HttpListener::bind("feed", "FEED_ADDR", http.listen, is_default, http.tls()?).await?;
    let paths: Vec<_> = settings
        .files
        .iter()
        .map(|file| format!("/{}", file.name))
        .collect();
    tracing::info!(
        url = listener.url(),
        paths = paths.join(", "),
        "streaming files"
    );
    process.health.dependency("listener").up();
    let access = Access::new(http.access(), process.clock);
    let reloads = process.on_reload(|| access.reload());
    // Responses end by themselves at the stop.
    let streams = Streams::new(&settings.files, http.pause(), process.stop.clone());
    let app = streams.router(access.clone());
    tokio::select! {
        () = listener.serve(app, &process, || {}) => Ok(()),
        never = reloads => match never {},
        never = process.health.tick_for_ever() => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::{NamedFile, named_file};

    #[test]
    fn files_have_names_that_can_be_paths() {
        let file = NamedFile {
            name: "work_orders-2".to_owned(),
            path: "a=b.json".into(),
        };
        assert_eq!(named_file("work_orders-2=a=b.json"), Ok(file));
        for text in ["", "a", "=a", "a=", "A=b", "a/b=c", "a.b=c"] {
            assert!(named_file(text).is_err(), "{text}");
        }
    }
}
