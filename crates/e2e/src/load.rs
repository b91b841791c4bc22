//! A load whose every reading can be told from its number, and what the broker said of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::time::Timestamp;
use fastrand::Rng;
use transport::Publisher;

use crate::rows::Cell;

/// Sensors of a complete row.
pub const SENSORS: [&str; 6] = [
    "temp_inlet",
    "temp_outlet",
    "pressure",
    "flow_rate",
    "voltage",
    "current",
];

/// What was sent: by cell, the value that has to win; and how much of everything else.
#[derive(Debug, Default)]
pub struct Sent {
    /// The first reading of each cell, with the id of its message.
    pub cells: BTreeMap<Cell, (f64, u64)>,
    /// Readings sent again as they were.
    pub repeated: i64,
    /// Readings of a cell sent before, with another value.
    pub superseded: i64,
    /// Messages that are no readings.
    pub bad: i64,
    next_id: u64,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cells,
            repeated,
            superseded,
            bad,
            next_id,
        } = self;
        write!(
            f,
            "sent {next_id}: {} cells, {repeated} repeated, {superseded} superseded, {bad} bad",
            cells.len()
        )
    }
}

/// Ids of acknowledged messages.
#[derive(Debug, Clone, Default)]
pub struct Acknowledged(Arc<Mutex<Vec<u64>>>);

impl Acknowledged {
    /// Records one; hand it to the publisher.
    pub fn record(&self, id: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id);
    }

    /// All of them, in ascending order.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        let mut ids = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        ids.sort_unstable();
        ids
    }
}

/// Rounds of readings: one second of each rig's time a round, some of them missing, sent twice,
/// contradicted, or garbled.
#[derive(Debug)]
pub struct Load {
    /// How many rigs.
    pub rigs: u32,
    /// The time of the first round.
    pub start: Timestamp,
    /// Decides what goes wrong.
    pub rng: Rng,
}

impl Load {
    /// Publishes one round.
    pub async fn round(&mut self, round: u32, publisher: &Publisher, sent: &mut Sent) {
        let time = self.start.plus(Duration::from_secs(u64::from(round)));
        for rig in 0..self.rigs {
            for (place, sensor) in (0_u32..).zip(SENSORS) {
                if self.rng.f64() < 0.03 {
                    continue;
                }
                let name = format!("RIG-{rig:02}");
                let topic = common::topic::format(&name, sensor);
                // Few digits: the store keeps about fifteen.
                let value = f64::from(round * 1_000 + rig * 10 + place) / 1_000.0;
                let cell = (name, time.nanos() / 1_000_000, sensor.to_owned());
                sent.cells.insert(cell, (value, sent.next_id));
                publish(publisher, sent, &topic, payload(time, value)).await;
                if self.rng.f64() < 0.02 {
                    sent.repeated += 1;
                    publish(publisher, sent, &topic, payload(time, value)).await;
                }
                if self.rng.f64() < 0.01 {
                    sent.superseded += 1;
                    publish(publisher, sent, &topic, payload(time, value + 0.5)).await;
                }
                if self.rng.f64() < 0.005 {
                    sent.bad += 1;
                    publish(publisher, sent, &topic, "{\"value\":".to_owned()).await;
                }
            }
        }
    }
}

async fn publish(publisher: &Publisher, sent: &mut Sent, topic: &str, payload: String) {
    let id = sent.next_id;
    sent.next_id += 1;
    publisher
        .publish(id, topic.to_owned(), payload)
        .await
        .expect("a session");
}

fn payload(time: Timestamp, value: f64) -> String {
    format!("{{\"timestamp\":\"{time}\",\"value\":{value}}}")
}
