//! Runs the one process and the stages at a high rate, without a scrape of their metrics, and checks that
//! neither memory nor files grow: `soak-rigline DURATION`, by default `10m` for each of the two.
//!
//! The load: a fleet of 500 rigs, and devices that connect for some seconds, send readings of rigs and
//! sensors that come and go and some messages that become dead letters, and leave. Fails if the resident
//! memory of a process grows by more than 3 % over the last two thirds of the time, or a file other than
//! `store.db`. Before that, the fleet's past fills the caches that have a limit of their own, such as the
//! store's pages.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a tool for developers"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::health::Dependency;
use common::settings::positive_duration;
use e2e::measure::memory_mib;
use e2e::{Deployment, Pipeline};

use transport::{MqttSettings, PublishError, Publisher};

const DURATION: Duration = Duration::from_mins(10);
const SAMPLE: Duration = Duration::from_secs(5);
/// The most growth over the last two thirds.
const GROWTH: f64 = 1.03;
/// Growth below this is noise, whatever its share: pages of the allocator, the length of a log.
const SLACK_MIB: f64 = 1.0;
/// How long a visitor waits for its acknowledgements, and until the next one comes.
const LEAVE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);
const VISIT_READINGS: u64 = 5_000;
/// Readings of the past that are sent first. Their rows are several times larger than the caches.
const PAST: &str = "6000000";
const PAST_LIMIT: Duration = Duration::from_mins(10);
/// Rigs of a visitor. The names of this many visitors are different; a name returns long after `RIG_IDLE`.
const VISITOR_RIGS: u64 = 100;
const VISITORS: u64 = 20;

#[tokio::main]
async fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        println!("measure a release build: make soak");
        return ExitCode::FAILURE;
    }
    let duration = std::env::args().nth(1);
    let duration = duration.map_or(Ok(DURATION), |text| positive_duration(&text));
    let Ok(duration) = duration else {
        println!("soak-rigline DURATION, for instance 10m");
        return ExitCode::from(64);
    };
    let mut failed = false;
    for deployment in Deployment::ALL {
        println!("{} for {duration:?}", deployment.name());
        failed |= !soak(*deployment, duration).await;
    }
    ExitCode::from(u8::from(failed))
}

/// One thing that must not grow: its name, and a sample every [`SAMPLE`], in MiB.
struct Series {
    name: String,
    samples: Vec<f64>,
}

/// Returns whether nothing has grown.
async fn soak(deployment: Deployment, duration: Duration) -> bool {
    // A limit of dead letters that is reached early: until then, they make `queue.db` grow.
    let settings = [
        ("RIG_IDLE", "20s"),
        ("DEAD_LETTER_LIMIT", "2000"),
        ("RUST_LOG", "error"),
    ];
    let pipeline = Pipeline::start(deployment, &settings);
    let mut past = pipeline.producer(&[("RIGS", "500"), ("FAST", "true"), ("COUNT", PAST)]);
    let ended = past.wait_exit(PAST_LIMIT);
    assert!(ended.is_some_and(|ended| ended.success()), "{ended:?}");
    let fleet = pipeline.producer(&[
        ("RIGS", "500"),
        ("GARBLED", "0.01"),
        ("DUPLICATED", "0.01"),
        ("LATE", "0.01"),
        ("RUST_LOG", "error"),
    ]);
    let mut visitors = tokio::spawn(visit(pipeline.mqtt_port()));
    let mut watched: Vec<(Watched, Series)> = Vec::new();
    let stages = pipeline.processes.iter().zip(deployment.roles());
    let stages = stages.map(|(process, role)| (process.pid(), role.name()));
    for (pid, name) in stages.chain([(fleet.pid(), "producer")]) {
        let series = Series::new(format!("{name}, memory"));
        watched.push((Watched::Memory(pid), series));
    }
    if let Some(data) = pipeline.data_dir() {
        watched.push((
            Watched::Files(data),
            Series::new("files but store.db".into()),
        ));
    }
    let started = Instant::now();
    while started.elapsed() < duration {
        for (what, series) in &mut watched {
            series.samples.push(what.mib());
        }
        tokio::select! {
            ended = &mut visitors => panic!("the visitors ended: {ended:?}"),
            () = tokio::time::sleep(SAMPLE) => {}
        }
    }
    visitors.abort();
    let ledger = pipeline.ledger().await;
    println!(
        "{} readings, {:?}",
        ledger.get(queue::ledger::Counter::Accepted),
        ledger.broken_line()
    );
    println!("| | after a third, MiB | at the end, MiB | growth |");
    println!("| --- | --- | --- | --- |");
    let mut is_flat = ledger.broken_line().is_none();
    for (_, series) in &watched {
        is_flat &= series.report();
    }
    is_flat
}

enum Watched {
    Memory(u32),
    Files(PathBuf),
}

impl Watched {
    fn mib(&self) -> f64 {
        match self {
            Self::Memory(pid) => {
                memory_mib(*pid).unwrap_or_else(|| panic!("process {pid} has ended"))
            }
            Self::Files(dir) => files_mib(dir),
        }
    }
}

impl Series {
    const fn new(name: String) -> Self {
        Self {
            name,
            samples: Vec::new(),
        }
    }

    /// Prints the growth from the second to the last third; returns whether it is small enough.
    fn report(&self) -> bool {
        let part = (self.samples.len() / 10).max(1);
        let third = self.samples.len() / 3;
        let early = mean(&self.samples[third..(third + part).min(self.samples.len())]);
        let late = mean(&self.samples[self.samples.len() - part..]);
        let is_flat = late <= early * GROWTH || late - early <= SLACK_MIB;
        let verdict = if is_flat { "" } else { " FAILED" };
        println!(
            "| {} | {early:.1} | {late:.1} | {:+.1} %{verdict} |",
            self.name,
            (late / early - 1.0) * 100.0
        );
        is_flat
    }
}

#[expect(clippy::cast_precision_loss, reason = "few samples")]
fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len().max(1) as f64
}

/// The sizes of all files in a directory but the store's.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn files_mib(dir: &Path) -> f64 {
    let files = fs::read_dir(dir).expect("the data directory").flatten();
    let others = files.filter(|file| file.file_name() != "store.db");
    let sizes = others.filter_map(|file| Some(file.metadata().ok()?.len()));
    sizes.sum::<u64>() as f64 / f64::from(1 << 20)
}

/// Connects one visitor after another, for ever.
async fn visit(port: u16) -> PublishError {
    let settings = MqttSettings::at("127.0.0.1", port);
    let mut visit = 0_u64;
    loop {
        let name = format!("visitor-{visit}");
        let publisher = Publisher::start(&settings, &name, Dependency::unreported("mqtt"), |_| {});
        let visitor = visit % VISITORS;
        for number in 0..VISIT_READINGS {
            let rig = number % VISITOR_RIGS;
            let topic = format!("rigs/V{visitor}-{rig}/measurements/probe{visitor}");
            let payload = match number % 50 {
                0 => "not JSON".to_owned(),
                _ => format!(r#"{{"value":{number}}}"#),
            };
            if let Err(error) = publisher.publish(number, topic, payload).await {
                return error;
            }
        }
        publisher.drain(LEAVE).await;
        publisher.close().await;
        tokio::time::sleep(PAUSE).await;
        visit += 1;
    }
}
