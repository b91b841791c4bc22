//! Test messages, and accessors for the results.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::clock::Clock;
use e2e::rows::Rows;
use model::time::Timestamp;
use producer::fleet::{Faults, Fleet, SENSORS};
use queue::ledger::{Counter, Ledger};

/// How long an expected change may take.
pub const SOON: Duration = Duration::from_secs(20);

/// The second before this one, in milliseconds since 1970.
pub fn this_second() -> i64 {
    Clock::system().now().seconds() * 1_000
}

/// The payload of a reading.
pub fn payload(ms: i64, value: f64) -> String {
    format!(
        "{{\"timestamp\":\"{}\",\"value\":{value}}}",
        Timestamp::from_millis(ms)
    )
}

/// Whether every reading is stored.
pub fn all_stored(ledger: &Ledger) -> bool {
    ledger.raw == 0
        && ledger.normalized == 0
        && ledger.get(Counter::OpenReadings) == 0
        && ledger.get(Counter::RowsStored) > 0
}

/// The single value of each cell.
pub fn values(rows: &Rows) -> BTreeMap<(String, i64, String), f64> {
    let one = |values: &Vec<f64>| {
        assert!(
            values
                .iter()
                .all(|value| value.to_bits() == values[0].to_bits()),
            "{values:?}"
        );
        values[0]
    };
    rows.iter()
        .map(|(cell, values)| (cell.clone(), one(values)))
        .collect()
}

/// Asserts that exactly these rounds of the producer's fleet are stored.
pub fn assert_stored(rows: &Rows, rigs: &[&str], seed: u64, rounds: u64) {
    let stored = values(rows);
    let names: Vec<_> = rigs.iter().map(|&rig| rig.to_owned()).collect();
    let cells = rounds * (rigs.len() * SENSORS.len()) as u64;
    assert_eq!(stored.len() as u64, cells);
    let fleet = Fleet::new(&names, seed, Faults::default());
    let ticks: BTreeSet<i64> = stored.keys().map(|(_, ms, _)| *ms).collect();
    for (round, ms) in (0..rounds).zip(&ticks) {
        for (rig, name) in names.iter().enumerate() {
            for (place, sensor) in SENSORS.iter().enumerate() {
                let cell = (name.clone(), *ms, sensor.name.to_owned());
                let sent = fleet.value(rig, place, round);
                let found = stored.get(&cell).map(|value| value.to_bits());
                assert_eq!(found, Some(sent.to_bits()), "{cell:?} = {sent}");
            }
        }
    }
}

/// Stage and reason of each dead letter, sorted.
pub fn reasons(letters: &[Vec<u8>]) -> Vec<String> {
    let reason = |letter: &Vec<u8>| {
        let text = String::from_utf8_lossy(letter);
        let letter: serde_json::Value = serde_json::from_str(&text).unwrap();
        for member in ["id", "time", "stage", "detail", "topic", "payload"] {
            assert!(letter[member].is_string(), "{member} of {text}");
        }
        let text = |member: &str| letter[member].as_str().unwrap().to_owned();
        format!("{} {}", text("stage"), text("reason"))
    };
    let mut reasons: Vec<String> = letters.iter().map(reason).collect();
    reasons.sort();
    reasons
}
