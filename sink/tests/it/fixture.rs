//! A sink, its rows, and checks of their results.

use std::collections::BTreeMap;
use std::time::Duration;

use common::secret::Secret;
use common::settings::InfluxTls;
use model::{Layout, Name, Row, Timestamp};
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::list::List;
use queue::settings::QueueSettings;
use queue::testing::{Running, TempQueue, assert_exact, limited, wait_until};
use serde_json::Value;
use sink::{NamedStore, Stores};
use store::{InfluxSettings, InfluxStore, Store};
use testkit::InfluxProxy;
use testkit::influxdb::{ORG, TOKEN};

/// A queue with a small batch.
pub fn queue_of(batch: usize) -> TempQueue {
    TempQueue::new(limited(|limits| limits.batch = batch))
}

/// Starts a sink with its own handle of the queue.
pub fn start(queue: &TempQueue, server: &InfluxProxy) -> Running {
    start_on(queue.open(), queue.settings(), server)
}

/// Starts a sink on this handle.
pub fn start_on(handle: impl Queue, settings: &QueueSettings, server: &InfluxProxy) -> Running {
    start_with(handle, settings, influx(server))
}

/// A client of a server.
pub fn influx(server: &InfluxProxy) -> InfluxStore {
    let store = InfluxStore::new(&InfluxSettings {
        url: server.url(),
        token: Some(Secret::new(TOKEN)),
        token_file: None,
        tls: InfluxTls::default(),
        org: ORG.into(),
        bucket: server.bucket().into(),
        // A write without a response hangs for longer than these tests.
        timeout: Duration::from_mins(5),
    });
    store.unwrap()
}

/// Starts a sink on this handle, with any store.
pub fn start_with(
    handle: impl Queue,
    settings: &QueueSettings,
    store: impl Store + 'static,
) -> Running {
    let settings = settings.clone();
    let name = "store".to_owned();
    let stores = Stores::from(vec![NamedStore { name, store }]);
    Running::start(|process| sink::run(settings, handle, stores, process))
}

/// The time of a second, in nanoseconds.
pub fn nanos(second: i64) -> i64 {
    (1_762_092_000 + second) * 1_000_000_000
}

/// A row of a rig.
pub fn row(rig: &str, second: i64) -> Vec<u8> {
    let mut element = Vec::new();
    let mut row = Row::of_rig(
        Name::new(rig).unwrap(),
        Timestamp::from_nanos(nanos(second)),
    );
    row.fields
        .extend(fields(second).map(|(name, value)| (Name::new(name).unwrap(), value.into())));
    Layout::Rigs.encode_row(&row, &mut element);
    element
}

fn fields(second: i64) -> [(&'static str, f64); 2] {
    let second = i32::try_from(second).unwrap();
    [("flow_rate", f64::from(second) + 0.25), ("pressure", -1.5)]
}

/// A row of a rig `BAD` with a field that no other row has.
pub fn bad_row(second: i64) -> Vec<u8> {
    let mut element = Vec::new();
    let mut row = Row::of_rig(
        Name::new("BAD").unwrap(),
        Timestamp::from_nanos(nanos(second)),
    );
    row.fields.push((Name::new("level").unwrap(), 0.5.into()));
    Layout::Rigs.encode_row(&row, &mut element);
    element
}

/// Rows of one rig, one for each second.
pub fn rows(rig: &str, seconds: std::ops::Range<i64>) -> Vec<Vec<u8>> {
    seconds.map(|second| row(rig, second)).collect()
}

/// Asserts that the server has exactly these seconds of the rig, each as in the list.
pub fn assert_stored(server: &InfluxProxy, rig: &str, seconds: impl IntoIterator<Item = i64>) {
    let of_rig = server
        .points()
        .into_iter()
        .filter(|point| point.tags["rig_id"] == rig);
    let found: BTreeMap<_, _> = of_rig
        .map(|point| ((point.nanos, point.field), point.value))
        .collect();
    let expected = seconds.into_iter().flat_map(|second| {
        fields(second).map(|(name, value)| ((nanos(second), name.to_owned()), value))
    });
    assert_eq!(found, expected.collect(), "{rig}");
    assert_eq!(
        server.changed(),
        0,
        "no value was ever overwritten by another"
    );
}

/// Waits until the normalized list is empty. Asserts an exact ledger with this many stored rows and dead
/// letters.
pub async fn done(queue: &TempQueue, stored: i64, dead: i64) -> Ledger {
    let ledger = queue.wait_for(|ledger| ledger.normalized == 0).await;
    let counted = [Counter::RowsStored, Counter::DeadSink].map(|counter| ledger.get(counter));
    assert_eq!(counted, [stored, dead]);
    assert_exact(&ledger);
    ledger
}

/// Asserts that the sink has taken nothing.
pub async fn assert_untouched(queue: &TempQueue, rows: i64) {
    let ledger = queue.ledger().await;
    assert_exact(&ledger);
    assert_eq!(
        (ledger.normalized, ledger.get(Counter::RowsTaken)),
        (rows, 0)
    );
    assert_eq!((ledger.dead, ledger.get(Counter::RowsStored)), (0, 0));
}

/// The dead letters in the list.
pub fn letters(queue: &TempQueue) -> Vec<Value> {
    let letters = queue.items(List::Dead).into_iter();
    letters
        .map(|letter| serde_json::from_slice(&letter).unwrap())
        .collect()
}

/// Waits until the server has received this many writes.
pub async fn asked(server: &InfluxProxy, times: usize) {
    wait_until("a write", || server.received().len() >= times).await;
}
