//! The whole pipeline for tests: real servers, real processes, and all stored rows.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "only tests use it, and a test that can't be set up has to fail"
)]

use std::time::{Duration, Instant};

use model::element::encode_reading;
use model::{Name, Reading, Timestamp};
use producer::fleet::SENSORS;
use queue::ledger::Ledger;

pub mod chain;
pub mod deployment;
pub mod filled;
pub mod measure;
pub mod one_process;
pub mod pipeline;
pub mod rows;

pub use self::chain::{Chain, Role};
pub use self::deployment::Deployment;
pub use self::one_process::OneProcess;
pub use self::pipeline::Pipeline;

/// The names of the simulated rigs' sensors, which make a row complete.
#[must_use]
pub fn sensors() -> [&'static str; SENSORS.len()] {
    SENSORS.map(|sensor| sensor.name)
}

/// Elements of the raw list: a reading of each sensor of a rig, which arrived at its time.
#[must_use]
pub fn elements_of_rig(rig: &str, time: Timestamp) -> Vec<Vec<u8>> {
    let element = |sensor| {
        let reading = Reading {
            rig_id: Name::new(rig).expect("a name"),
            sensor: Name::new(sensor).expect("a name"),
            timestamp: time,
            value: 21.5,
            ingest_time: time,
        };
        let mut element = Vec::with_capacity(192);
        encode_reading(&reading, &mut element);
        element
    };
    sensors().map(element).into()
}

/// Waits until `is_done` holds for the ledger; panics with the last ledger after `limit`.
async fn wait_for(
    ledger: impl AsyncFn() -> Ledger,
    limit: Duration,
    is_done: impl Fn(&Ledger) -> bool,
) -> Ledger {
    let started = Instant::now();
    loop {
        let ledger = ledger().await;
        if is_done(&ledger) {
            return ledger;
        }
        assert!(
            started.elapsed() < limit,
            "not done after {limit:?}: {ledger:#?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
