//! Everything in one process: the listener, three stages, a queue and a store in files.

mod data_dir;
mod plant;
mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use common::harness::{self, Process, Stage};

pub use self::data_dir::{DataDir, HoldError, QUEUE_FILE, STORE_FILE};
pub use self::plant::Plant;
pub use self::settings::{DEFAULT_DIR, PlantSettings, UpSettings};

const STAGE: Stage = Stage {
    name: "up",
    about: "Runs everything in this process: devices publish to it over MQTT, rows are in its data \
            directory",
    admin_addr: "127.0.0.1:9104",
    log_filter: "info",
};

/// Runs until it is told to stop. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&STAGE, args, run)
}

async fn run(settings: UpSettings, process: Process) -> anyhow::Result<()> {
    let dir = DataDir::hold(&settings.data)?;
    let plant = Plant::open(dir, &settings.plant, process.clock).await?;
    say(&plant);
    let store = plant.store();
    plant.run(store, &process).await
}

#[expect(clippy::print_stdout, reason = "for the person at the terminal")]
fn say(plant: &Plant) {
    let (listen, data) = (plant.listens_on(), plant.dir().display());
    println!(
        "Rigline {} is up; data in {data}",
        env!("CARGO_PKG_VERSION")
    );
    println!("  publish   {}", publish_line(listen));
    println!("  look      rigline rows --last 5m --data {data}");
    println!("  account   rigline ledger --data {data}");
}

/// How to publish to it, for copying.
#[must_use]
pub fn publish_line(listen: std::net::SocketAddr) -> String {
    let host = match listen.ip() {
        ip if ip.is_unspecified() || ip.is_loopback() => String::new(),
        ip => format!("-h {ip} "),
    };
    format!(
        "mosquitto_pub {host}-p {} -q 1 -t rigs/MINE/measurements/pressure -m '{{\"value\": 2.5}}'",
        listen.port()
    )
}
