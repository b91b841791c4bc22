//! A store that was filled for a benchmark.
#![expect(clippy::panic, reason = "a tool for developers")]

use std::path::Path;
use std::time::Duration;

use common::clock::Clock;
use model::{Layout, Name, Row, Timestamp};
use store::{SqliteSettings, SqliteStore, Store};

/// Rows per transaction.
const BATCH: usize = 20_000;

/// Writes a row of every rig (`RIG-0` and so on) for each of the seconds up to `now` into `store.db` in this
/// directory. Returns their number.
pub async fn fill_store(
    dir: &Path,
    rigs: usize,
    seconds: usize,
    sensors: usize,
    now: Timestamp,
) -> usize {
    let settings = SqliteSettings {
        retention: Duration::ZERO,
    };
    let path = dir.join("store.db");
    let store = SqliteStore::open(&path, &settings, Layout::Rigs, Clock::system());
    let store = store.expect("a store");
    let start = now.minus(Duration::from_secs(seconds as u64));
    let mut waiting = Vec::with_capacity(BATCH);
    for second in 1..=seconds {
        let tick = start.plus(Duration::from_secs(second as u64));
        for rig in 0..rigs {
            let name = Name::new(format!("RIG-{rig}")).expect("a name");
            let mut row = Row::of_rig(name, tick);
            for name in crate::sensors().into_iter().take(sensors) {
                let value = f64::from(mixed(second, rig)) / 1_000.0;
                row.fields
                    .push((Name::new(name).expect("a name"), value.into()));
            }
            waiting.push(row);
        }
        if waiting.len() >= BATCH || second == seconds {
            let wrote = store.write(&waiting).await;
            wrote.unwrap_or_else(|error| panic!("{error}"));
            waiting.clear();
        }
    }
    seconds * rigs
}

/// A number below 100,000 that differs from row to row.
fn mixed(second: usize, rig: usize) -> u32 {
    let number = (second * 31 + rig * 7).wrapping_mul(2_654_435_761) % 100_000;
    u32::try_from(number).unwrap_or_default()
}
