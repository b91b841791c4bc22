//! The whole pipeline in one process: the listener, three stages, and queue and store in files.

mod data_dir;
mod observer;
mod part;
mod server;
mod settings;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use common::cli::Program;
use common::harness::{self, Process};
use common::pipelines::RIGS;

use crate::called::{program, quoted};
use crate::console::Console;

pub(crate) use self::data_dir::LOCK_FILE;
pub use self::data_dir::{DataDir, HoldError, QUEUE_FILE, STORE_FILE, is_held};
pub use self::observer::Observer;
pub use self::server::Server;
pub use self::settings::{DEFAULT_DIR, ServerSettings, UpSettings};

const PROGRAM: Program = Program {
    name: "up",
    about: "Runs the whole pipeline in this process: devices publish to it over MQTT, rows are stored in \
            its data directory",
    admin_addr: "127.0.0.1:9104",
    log_filter: "info",
};

/// Runs until a signal. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

async fn run(settings: UpSettings, process: Process) -> anyhow::Result<()> {
    let dir = DataDir::hold(&settings.data)?;
    let server = Server::open(dir, &settings.server, process.clock).await?;
    let console = Console::start();
    print_start(&console, &server);
    server.run(None, &process).await
}

fn print_start(console: &Console, server: &Server) {
    let data = server.dir().display();
    let mqtt = if server.takes_mqtt() {
        format!("MQTT on {}, ", server.listens_on())
    } else {
        String::new()
    };
    console.print(format!(
        "Rigline {} is up: {mqtt}data in {data}",
        env!("CARGO_PKG_VERSION")
    ));
    for line in server.other_listeners() {
        console.print(line);
    }
    console.print(dashboard_line(server));
    for line in lines_to_copy(server) {
        console.print(line);
    }
}

/// Where the dashboard and the HTTP API are, for clients of this machine.
fn api_url(server: &Server) -> String {
    let addr = server.api_listens_on();
    let addr = match addr.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), addr.port()),
        _ => addr,
    };
    let scheme = if server.api_is_https() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{addr}")
}

/// The address of the dashboard.
pub(crate) fn dashboard_line(server: &Server) -> String {
    format!("dashboard: {}", api_url(server))
}

/// A command that shows the newest values by the HTTP API.
fn api_line(server: &Server, pipeline: &str) -> String {
    let url = api_url(server);
    let login = if server.api_requires_token() {
        " -H 'Authorization: Bearer TOKEN'"
    } else {
        ""
    };
    format!("curl{login} {url}/api/v1/pipelines/{pipeline}/latest")
}

/// Commands to publish and to read the data of a pipeline, for copying: of `rigs`, or of the first one.
pub(crate) fn lines_to_copy(server: &Server) -> Vec<String> {
    let (program, data) = (program(), quoted(&server.dir().display().to_string()));
    let name = server.pipelines().find(|name| *name == RIGS);
    let name = name.or_else(|| server.pipelines().next()).unwrap_or(RIGS);
    let (mut lines, mut pipeline) = (Vec::new(), String::new());
    if name == RIGS {
        lines.push(publish_line(server.listens_on(), server.requires_login()));
    } else {
        pipeline = format!(" --pipeline {name}");
    }
    if server.has_store_file(name) {
        lines.push(format!("{program} rows{pipeline} --last 1m --data {data}"));
    }
    lines.push(format!("{program} ledger{pipeline} --data {data}"));
    lines.push(format!("{program} dlq list{pipeline} --data {data}"));
    lines.push(api_line(server, name));
    lines
}

fn publish_line(listen: SocketAddr, requires_login: bool) -> String {
    let host = match listen.ip() {
        ip if ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST => String::new(),
        ip => format!("-h {ip} "),
    };
    let port = match listen.port() {
        1883 => String::new(),
        port => format!("-p {port} "),
    };
    let login = if requires_login {
        "-u USER -P PASSWORD "
    } else {
        ""
    };
    format!(
        "mosquitto_pub {host}{port}{login}-q 1 -t rigs/MINE/measurements/pressure -m '{{\"value\":2.5}}'"
    )
}
