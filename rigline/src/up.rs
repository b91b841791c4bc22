//! Everything in one process: the listener, three stages, a queue and a store in files.

mod data_dir;
mod plant;
mod settings;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use common::cli::Program;
use common::harness::{self, Process};

use crate::console::Console;

pub use self::data_dir::{DataDir, HoldError, QUEUE_FILE, STORE_FILE};
pub use self::plant::Plant;
pub use self::settings::{DEFAULT_DIR, PlantSettings, UpSettings};

const PROGRAM: Program = Program {
    name: "up",
    about: "Runs everything in this process: devices publish to it over MQTT, rows are in its data \
            directory",
    admin_addr: "127.0.0.1:9104",
    log_filter: "info",
};

/// Runs until it is told to stop. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

async fn run(settings: UpSettings, process: Process) -> anyhow::Result<()> {
    let dir = DataDir::hold(&settings.data)?;
    let plant = Plant::open(dir, &settings.plant, process.clock).await?;
    let console = Console::start();
    greet(&console, &plant);
    let store = plant.store();
    plant.run(store, &process).await
}

fn greet(console: &Console, plant: &Plant) {
    let (listen, data) = (plant.listens_on(), plant.dir().display());
    console.say(format!(
        "Rigline {} is up: MQTT on {listen}, data in {data}",
        env!("CARGO_PKG_VERSION")
    ));
    for line in lines_to_copy(plant) {
        console.say(line);
    }
}

/// How to publish to it and to look at its data, for copying.
pub(crate) fn lines_to_copy(plant: &Plant) -> [String; 4] {
    let (program, data) = (program(), quoted(&plant.dir().display().to_string()));
    [
        publish_line(plant.listens_on(), plant.wants_login()),
        format!("{program} rows --last 1m --data {data}"),
        format!("{program} ledger --data {data}"),
        format!("{program} dlq list --data {data}"),
    ]
}

/// How this program is called from where the caller is.
fn program() -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let Ok(path) = std::env::current_exe() else {
        return "rigline".to_owned();
    };
    match path.strip_prefix(&here) {
        Ok(below) => below.display().to_string(),
        Err(_) if is_on_path(&path) => "rigline".to_owned(),
        Err(_) => path.display().to_string(),
    }
}

/// As a shell reads it.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

fn is_on_path(program: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| Some(dir.as_path()) == program.parent())
}

fn publish_line(listen: SocketAddr, wants_login: bool) -> String {
    let host = match listen.ip() {
        ip if ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST => String::new(),
        ip => format!("-h {ip} "),
    };
    let port = match listen.port() {
        1883 => String::new(),
        port => format!("-p {port} "),
    };
    let login = if wants_login {
        "-u USER -P PASSWORD "
    } else {
        ""
    };
    format!(
        "mosquitto_pub {host}{port}{login}-q 1 -t rigs/MINE/measurements/pressure -m '{{\"value\":2.5}}'"
    )
}
