//! A demonstration: everything in one process, a simulated fleet, and a summary each second.

mod panel;
mod summary;
mod timed;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use common::cli::Program;
use common::harness::{self, Process};
use common::settings::{BadSetting, Settings, path, positive_duration};
use producer::{FleetSettings, ProducerSettings, Rigs};
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::sqlite::SqliteQueue;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use transport::MqttSettings;

use self::timed::{Delays, Timed};
use crate::console::Console;
use crate::inspect::ledger::trouble;
use crate::up::{DataDir, Plant, PlantSettings, lines_to_copy};

const PROGRAM: Program = Program {
    name: "demo",
    about: "Runs everything in this process with a simulated fleet, and shows what happens",
    admin_addr: "127.0.0.1:9104",
    log_filter: "warn",
};

/// How long the fleet's last readings may take at a stop.
const LAST_READINGS: Duration = Duration::from_millis(500);
/// How long everything may take to come to rest once the fleet has ended.
const REST: Duration = Duration::from_secs(12);

/// Runs until it is told to stop, or for the time that was asked for. `args` start with the program's
/// name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

/// What the demonstration can be told.
#[derive(Debug, Clone, Args)]
struct DemoSettings {
    /// Keep the data, in this directory [default: a temporary one, removed at the end]
    // Not by the variable: simulated rigs would come among real ones.
    #[arg(long, value_name = "DIR", value_parser = path())]
    data: Option<PathBuf>,
    /// How many rigs, or their names
    #[arg(long, env = "RIGS", default_value = "10", value_parser = producer::rigs)]
    rigs: Rigs,
    /// Time from one reading of a sensor to the next
    #[arg(long, env = "INTERVAL", default_value = "1s", value_parser = positive_duration)]
    interval: Duration,
    /// End after this time [default: at Ctrl-C]
    #[arg(long, env = "DURATION", value_parser = positive_duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    plant: PlantSettings,
}

impl DemoSettings {
    /// A fleet with a few faults, so that all that can happen is seen.
    fn fleet(&self) -> FleetSettings {
        FleetSettings {
            interval: self.interval,
            duration: self.duration,
            missing: 0.01,
            duplicated: 0.01,
            late: 0.005,
            late_by: Duration::from_secs(3),
            garbled: 0.005,
            ..FleetSettings::of(self.rigs.clone())
        }
    }
}

impl Settings for DemoSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.fleet().check()?;
        self.plant.check()?;
        BadSetting::unless(
            !self.plant.wants_login(),
            "MQTT_USERS",
            "a password file",
            "with a demonstration, whose rigs have no passwords, ALLOW_ANONYMOUS beside it",
        )
    }
}

async fn run(settings: DemoSettings, process: Process) -> anyhow::Result<()> {
    let (temporary, dir) = if let Some(dir) = &settings.data {
        (None, dir.clone())
    } else {
        let made = tempfile::Builder::new().prefix("rigline-demo-").tempdir();
        let made = made.context("cannot make a temporary directory")?;
        let dir = made.path().to_owned();
        (Some(made), dir)
    };
    let plant = Plant::open(DataDir::hold(&dir)?, &settings.plant, process.clock).await?;
    let (queue, listen) = (plant.queue().clone(), plant.listens_on());
    let delays = Delays::default();
    let console = Console::start();
    greet(&console, &settings.rigs, &plant);
    let store = Timed::new(plant.store(), delays.clone(), process.clock);

    // The stages stop after the fleet, so that its last readings are acknowledged.
    let stages = Process {
        stop: CancellationToken::new(),
        ..process.clone()
    };
    let stop = stages.stop.clone();
    let fleet = start_fleet(&settings, listen, &process);
    let direct = async {
        let ended = lead(fleet, &queue, &process).await;
        stop.cancel();
        ended
    };
    let work = async {
        let ran = plant.run(store, &stages).await;
        process.stop.cancel();
        ran
    };
    let (ran, led) = tokio::select! {
        ended = async { tokio::join!(work, direct) } => ended,
        never = summary::show(&queue, &delays, &console) => match never {},
    };
    if let Ok(snapshot) = queue.snapshot().await {
        say_farewell(&console, &snapshot.ledger, &dir, temporary.is_some());
    }
    drop(temporary);
    console.finish();
    ran.and(led)
}

fn start_fleet(
    settings: &DemoSettings,
    listen: SocketAddr,
    process: &Process,
) -> JoinHandle<anyhow::Result<()>> {
    let host = match listen.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        ip => ip.to_string(),
    };
    let mqtt = MqttSettings::at(&host, listen.port());
    let producer = ProducerSettings::simulated(mqtt, settings.fleet());
    tokio::spawn(producer::run(producer, process.for_stage("producer")))
}

/// Waits for the fleet's end, and then until what it sent has gone through; at a stop, not long.
async fn lead(
    mut fleet: JoinHandle<anyhow::Result<()>>,
    queue: &SqliteQueue,
    process: &Process,
) -> anyhow::Result<()> {
    let ended = tokio::select! {
        ended = &mut fleet => Some(ended),
        () = process.stop.cancelled() => None,
    };
    if let Some(ended) = ended {
        let rest = async {
            while !queue
                .snapshot()
                .await
                .is_ok_and(|snapshot| is_at_rest(&snapshot.ledger))
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(REST, rest) => {}
            () = process.stop.cancelled() => {}
        }
        return ended.context("the fleet panicked")?;
    }
    if tokio::time::timeout(LAST_READINGS, &mut fleet)
        .await
        .is_err()
    {
        fleet.abort();
    }
    Ok(())
}

fn is_at_rest(ledger: &Ledger) -> bool {
    ledger.raw == 0 && ledger.normalized == 0 && ledger.get(Counter::OpenReadings) == 0
}

fn say_farewell(console: &Console, ledger: &Ledger, dir: &Path, is_temporary: bool) {
    let count = |counter| ledger.get(counter);
    console.say(format!(
        "took {} readings and stored {} rows; ledger {}",
        count(Counter::Accepted),
        count(Counter::RowsStored),
        trouble(ledger).as_deref().unwrap_or("balanced")
    ));
    console.say(format!(
        "repeated {}, superseded {}, dead letters {}",
        count(Counter::Repeated),
        count(Counter::Superseded),
        ledger.dead
    ));
    let dir = dir.display();
    if is_temporary {
        console.say(format!(
            "the data in {dir} is removed (--data DIR keeps it)"
        ));
    } else {
        console.say(format!("the data is in {dir}"));
        let waiting = ledger.raw + count(Counter::OpenReadings);
        if waiting + ledger.normalized > 0 {
            console.say(format!(
                "{waiting} readings and {} rows aren't through; the next start goes on with them",
                ledger.normalized
            ));
        }
    }
}

/// What is said once, at the start.
fn greet(console: &Console, rigs: &Rigs, plant: &Plant) {
    console.say(format!(
        "Rigline {}: {} simulated rigs, MQTT on {}; Ctrl-C ends it",
        env!("CARGO_PKG_VERSION"),
        rigs.0.len(),
        plant.listens_on()
    ));
    console.say("Publish to it, and look at what it has, from another terminal:");
    for line in lines_to_copy(plant) {
        console.say(line);
    }
}
