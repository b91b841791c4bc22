//! How fast the SQLite store takes rows in and gives them back:
//! `cargo run --release -p store --example rate -- RIGS SECONDS BATCH`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::time::{Duration, Instant};

use common::clock::Clock;
use model::{Layout, Name, Row, Timestamp};
use store::history::Selection;
use store::{History, SqliteSettings, SqliteStore, Store};
use tempfile::TempDir;

const SENSORS: [&str; 6] = [
    "temp_inlet",
    "temp_outlet",
    "pressure",
    "flow_rate",
    "voltage",
    "current",
];
const START: i64 = 1_762_093_293;

#[tokio::main]
async fn main() {
    let mut given = std::env::args()
        .skip(1)
        .map(|text| text.parse::<usize>().unwrap());
    let (rigs, seconds, batch) = (
        given.next().unwrap_or(10),
        given.next().unwrap_or(43_200),
        given.next().unwrap_or(1_000),
    );
    let dir = TempDir::with_prefix("rate-").unwrap();
    let path = dir.path().join("store.db");
    let settings = SqliteSettings {
        retention: Duration::ZERO,
    };
    let store = SqliteStore::open(&path, &settings, Layout::Rigs, Clock::system()).unwrap();
    let names: Vec<String> = (0..rigs).map(|rig| format!("RIG-{rig}")).collect();
    let rows = rigs * seconds;

    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut waiting = Vec::with_capacity(batch);
    for number in 0..rows {
        waiting.push(row(&names[number % rigs], number / rigs));
        if waiting.len() == batch || number + 1 == rows {
            store.write(&waiting).await.unwrap();
            waiting.clear();
        }
    }
    let (took, cpu) = (started.elapsed(), cpu_seconds() - cpu);
    println!(
        "{rows} rows in batches of {batch}: {:.0} rows/s, {:.2} µs of CPU a row",
        float(rows) / took.as_secs_f64(),
        cpu * 1e6 / float(rows),
    );

    let all = Selection {
        series: &names[0],
        fields: &[],
        from: tick(0),
        to: tick(seconds),
    };
    let started = Instant::now();
    let page = store.history().range(all, 3_600).await.unwrap();
    println!("{} rows read in {:?}", page.rows.len(), started.elapsed());
    let started = Instant::now();
    let fields = store.history().buckets(all, Duration::from_mins(1)).await;
    println!(
        "{} buckets of a minute in {:?}",
        fields.unwrap()[0].buckets.len(),
        started.elapsed()
    );
    let started = Instant::now();
    let latest = store.history().latest(&names[0]).await.unwrap();
    println!("{} latest values in {:?}", latest.len(), started.elapsed());
    drop(store);
    let bytes = usize::try_from(path.metadata().unwrap().len()).unwrap();
    println!("{:.1} bytes a row", float(bytes) / float(rows));
}

fn row(rig: &str, second: usize) -> Row<'_> {
    let mut row = Row::of_rig(Name::new(rig).unwrap(), tick(second));
    for name in SENSORS {
        let value = f64::from(fastrand::u32(..100_000)) / 1_000.0;
        row.fields.push((Name::new(name).unwrap(), value.into()));
    }
    row
}

fn tick(second: usize) -> Timestamp {
    Timestamp::from_millis((START + i64::try_from(second).unwrap()) * 1_000)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

/// What the process has used so far; 0 where there is no /proc.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The 14th and 15th word, in hundredths of a second; the second may have spaces in it.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|word| word.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}
