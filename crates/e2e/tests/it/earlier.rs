//! Data of version 0.1 goes on where it was: readings wait in the raw list, in open rows and in the list of rows.
//!
//! The files beside this one were written by version 0.1, whose stages were killed.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use e2e::chain::Chain;
use queue::ledger::Counter;
use queue::testing::assert_exact;
use tempfile::TempDir;
use testkit::{Launch, free_port, stage_binary, wait_until};

use crate::readings::{SOON, all_stored, values};

/// The readings were made in 2026; they are accepted also years later.
const MAX_AGE: (&str, &str) = ("MAX_AGE", "9999d");
/// 2026-11-20T08:00:00Z, in milliseconds since 1970.
const MINUTE: i64 = 1_795_161_600_000;
const SENSORS: [&str; 6] = [
    "pressure",
    "flow_rate",
    "temperature",
    "vibration",
    "rpm",
    "torque",
];

/// The values by rig, time in milliseconds, and sensor.
type Cells = BTreeMap<(String, i64, String), f64>;

/// What was sent to version 0.1: rounds of readings, of which rig B has no `vibration`; of the last one only
/// some sensors.
fn sent(rounds: &[i64], last: i64, of_last: usize) -> Cells {
    let mut cells = Cells::new();
    let mut add = |rig: &str, second: i64, sensor: &str, value: f64| {
        let ms = MINUTE + second * 1_000;
        cells.insert((rig.to_owned(), ms, sensor.to_owned()), value);
    };
    let partial = SENSORS.iter().take(of_last).map(|sensor| (last, *sensor));
    let whole = rounds
        .iter()
        .flat_map(|second| SENSORS.map(|sensor| (*second, sensor)));
    for (second, sensor) in whole.chain(partial) {
        let place = SENSORS.iter().position(|name| *name == sensor).unwrap();
        let place = f64::from(u8::try_from(place).unwrap()) + 1.0;
        add("A", second, sensor, place + 0.5);
        if sensor != "vibration" {
            add("B", second, sensor, place + 10.25);
        }
    }
    add("A", 2, "pressure", 7.0);
    add("A", 8, "rpm", 9.0);
    cells
}

/// The values in the output of `rigline rows --format csv`.
fn cells(csv: &str) -> Cells {
    let mut lines = csv.lines().map(|line| line.split(','));
    let sensors: Vec<_> = lines.next().unwrap().skip(2).collect();
    let mut cells = Cells::new();
    for mut line in lines {
        let (rig, time) = (line.next().unwrap(), line.next().unwrap());
        let ms = model::Timestamp::parse(time).unwrap().nanos() / 1_000_000;
        for (sensor, value) in sensors.iter().zip(line) {
            if !value.is_empty() {
                let cell = (rig.to_owned(), ms, (*sensor).to_owned());
                cells.insert(cell, value.parse().unwrap());
            }
        }
    }
    cells
}

#[test]
fn data_directory_of_version_0_1_goes_on() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().display().to_string();
    sqlite::testing::create(
        &dir.path().join("queue.db"),
        include_str!("earlier/queue.sql"),
    );
    sqlite::testing::create(
        &dir.path().join("store.db"),
        include_str!("earlier/store.sql"),
    );
    let listen = format!("127.0.0.1:{}", free_port());
    let up = Launch::binary(&stage_binary("rigline"))
        .args(&["up"])
        .envs(&[("RIGLINE_DATA", &*data), ("MQTT_LISTEN", &listen)])
        .envs(&[MAX_AGE, ("RETENTION", "0"), ("FLUSH_INTERVAL", "200ms")])
        .spawn();
    assert!(up.ready(SOON), "{}", up.logs());
    let run = |args: &[&str]| {
        let ran = Command::new(stage_binary("rigline"))
            .args(args)
            .args(["--data", &data])
            .output();
        String::from_utf8(ran.unwrap().stdout).unwrap()
    };
    let is_stored = || {
        run(&["ledger"])
            .contains("stored 14 rows; waiting 0 readings in rows that are open, 0 in the raw list")
    };
    assert!(wait_until(SOON, is_stored), "{}", run(&["ledger"]));
    let ledger = run(&["ledger"]);
    assert!(
        ledger.contains("ok              63 = 63             readings = ")
            && ledger.contains("\nbalanced"),
        "{ledger}"
    );
    let csv = run(&["rows", "--last", "9999d", "--format", "csv"]);
    assert_eq!(cells(&csv), sent(&[1, 3, 4, 5, 6], 7, 3), "{csv}");
    let letters = run(&["dlq", "list"]);
    assert!(letters.contains("not_json"), "{letters}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_of_version_0_1_goes_on() {
    let chain = Chain::start(&[MAX_AGE, ("FLUSH_INTERVAL", "200ms")]);
    chain.redis.run_commands(include_str!("earlier/redis.txt"));
    let before = chain.ledger().await;
    assert_exact(&before);
    let waiting = [
        before.raw,
        before.normalized,
        before.get(Counter::OpenReadings),
    ];
    assert_eq!(waiting, [13, 3, 34], "{before:?}");
    let _stages = chain.spawn_all();
    let ledger = chain.wait_for(Duration::from_secs(30), all_stored).await;
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::Readings), 59);
    assert_eq!(values(&chain.rows()), sent(&[1, 3, 4, 5, 6], 7, 1));
}
