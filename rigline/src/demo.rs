//! The demo: the whole pipeline in one process, a simulated fleet, and a summary each second.

mod directory;
mod panel;
mod summary;
mod timed;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
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

use self::timed::{Delays, Timing};
use crate::console::Console;
use crate::inspect::ledger::verdict;
use crate::up::{DataDir, Server, ServerSettings, dashboard_line, lines_to_copy};

const PROGRAM: Program = Program {
    name: "demo",
    about: "Runs the whole pipeline in this process with a simulated fleet, and shows live figures",
    admin_addr: "127.0.0.1:9104",
    // The panel shows what is omitted, and log lines would break it.
    log_filter: "warn,queue::rejected=error,transformer::warnings=error",
};

/// How long a stop waits for the fleet's last readings.
const LAST_READINGS: Duration = Duration::from_millis(500);
/// How long to wait, after the fleet's end, until all its readings are stored.
const DRAIN_LIMIT: Duration = Duration::from_secs(12);

/// Runs until a signal, or for `--duration`. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

/// All settings of the demo.
#[derive(Debug, Clone, Args)]
struct DemoSettings {
    /// Keep the data in this directory [default: a temporary directory, removed at the end]
    // Not from RIGLINE_DATA: simulated rigs would be mixed with real ones.
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
    server: ServerSettings,
}

impl DemoSettings {
    /// A fleet with a few faults, so that every kind of event occurs.
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
        self.server.check()?;
        BadSetting::unless(
            !self.server.requires_login(),
            "MQTT_USERS",
            "a password file",
            "in the demo only together with ALLOW_ANONYMOUS: its rigs have no passwords",
        )
    }
}

async fn run(settings: DemoSettings, process: Process) -> anyhow::Result<()> {
    let (temporary, dir) = if let Some(dir) = &settings.data {
        (None, dir.clone())
    } else {
        let made = directory::create().context("cannot create a temporary directory")?;
        let dir = made.path().to_owned();
        (Some(made), dir)
    };
    let server = Server::open(DataDir::hold(&dir)?, &settings.server, process.clock).await?;
    let queues: Vec<SqliteQueue> = server.queues().cloned().collect();
    let queue = queues.first().context("there is no pipeline")?.clone();
    let listen = server.listens_on();
    let delays = Delays::default();
    let console = Console::start();
    print_start(&console, &settings.rigs, &server);
    let timing = Timing {
        delays: delays.clone(),
        limits: settings.server.readings,
        align: settings.server.rows.align,
        clock: process.clock,
    };

    // The stages stop after the fleet, so that its last readings are acknowledged.
    let stages = Process {
        stop: CancellationToken::new(),
        ..process.clone()
    };
    let stop = stages.stop.clone();
    let fleet = start_fleet(&settings, listen, &process);
    let direct = async {
        let ended = wait_for_fleet(fleet, &queues, &process).await;
        stop.cancel();
        ended
    };
    let work = async {
        let ran = server.run(Some(Arc::new(timing)), &stages).await;
        process.stop.cancel();
        ran
    };
    let (ran, fleet_ended) = tokio::select! {
        ended = async { tokio::join!(work, direct) } => ended,
        never = summary::show(&queue, &delays, &console) => match never {},
    };
    if let Ok(snapshot) = queue.snapshot().await {
        print_totals(&console, &snapshot.ledger, &dir, temporary.is_some());
    }
    drop(temporary);
    console.finish();
    ran.and(fleet_ended)
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
    let mut producer = ProducerSettings::simulated(mqtt, settings.fleet());
    producer.pipelines = settings.server.pipelines.simulated();
    producer.redis = settings.server.redis.clone();
    tokio::spawn(producer::run(producer, process.for_stage("producer")))
}

/// Waits for the fleet's end, and then until its readings are stored. At a stop, it waits only shortly.
async fn wait_for_fleet(
    mut fleet: JoinHandle<anyhow::Result<()>>,
    queues: &[SqliteQueue],
    process: &Process,
) -> anyhow::Result<()> {
    let ended = tokio::select! {
        ended = &mut fleet => Some(ended),
        () = process.stop.cancelled() => None,
    };
    if let Some(ended) = ended {
        let rest = async {
            for queue in queues {
                while !queue
                    .snapshot()
                    .await
                    .is_ok_and(|snapshot| is_drained(&snapshot.ledger))
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(DRAIN_LIMIT, rest) => {}
            () = process.stop.cancelled() => {}
        }
        return ended.context("the fleet's task panicked")?;
    }
    if tokio::time::timeout(LAST_READINGS, &mut fleet)
        .await
        .is_err()
    {
        fleet.abort();
    }
    Ok(())
}

fn is_drained(ledger: &Ledger) -> bool {
    ledger.raw == 0 && ledger.normalized == 0 && ledger.get(Counter::OpenReadings) == 0
}

fn print_totals(console: &Console, ledger: &Ledger, dir: &Path, is_temporary: bool) {
    let count = |counter| ledger.get(counter);
    console.print(format!(
        "took {} readings and stored {} rows; ledger {}",
        count(Counter::Accepted),
        count(Counter::RowsStored),
        verdict(ledger)
    ));
    console.print(format!(
        "repeated {}, superseded {}, dead letters {}",
        count(Counter::Repeated),
        count(Counter::Superseded),
        ledger.dead
    ));
    let dir = dir.display();
    if is_temporary {
        console.print(format!(
            "the data in {dir} is removed (--data DIR keeps it)"
        ));
    } else {
        console.print(format!("the data is in {dir}"));
        let waiting = ledger.raw + count(Counter::OpenReadings);
        if waiting + ledger.normalized > 0 {
            console.print(format!(
                "{waiting} readings and {} rows aren't stored yet; the next start continues with them",
                ledger.normalized
            ));
        }
    }
}

/// Prints the address and example commands at the start.
fn print_start(console: &Console, rigs: &Rigs, server: &Server) {
    console.print(format!(
        "Rigline {}: {} simulated rigs, MQTT on {}; Ctrl-C ends it",
        env!("CARGO_PKG_VERSION"),
        rigs.0.len(),
        server.listens_on()
    ));
    console.print(dashboard_line(server));
    console.print("Publish to it and read its data from another terminal:");
    for line in lines_to_copy(server) {
        console.print(line);
    }
}
