//! An ingester, devices that publish, and the raw list.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use common::clock::Clock;
use common::health::Dependency;
use common::settings::TimeLimitSettings;
use ingester::decoder::Decoder;
use ingester::settings::{ReadingLimits, Work};
use model::Stage;
use model::element;
use model::time::Timestamp;
use model::topic;
use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::list::List;
use queue::settings::QueueSettings;
use queue::testing::{Running, TempQueue, assert_exact};
use testkit::Mosquitto;
use transport::{MqttSettings, Publisher, Retained, SubscribeSettings, Subscriber};

/// How long acknowledgements of all published messages may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A queue with default settings.
pub fn queue() -> TempQueue {
    TempQueue::new(queue::testing::settings())
}

/// Starts an ingester with its own handle of the queue.
pub fn start(queue: &TempQueue, broker: &Mosquitto) -> Running {
    start_at(Clock::system(), queue, broker)
}

/// Starts an ingester with another clock.
pub fn start_at(clock: Clock, queue: &TempQueue, broker: &Mosquitto) -> Running {
    start_on(clock, queue.open(), queue.settings(), broker)
}

/// Starts an ingester that takes retained messages.
pub fn start_accepting_retained(queue: &TempQueue, broker: &Mosquitto) -> Running {
    let subscribe = SubscribeSettings {
        retained: Retained::Accept,
        ..SubscribeSettings::default()
    };
    let (clock, settings) = (Clock::system(), queue.settings());
    start_with(clock, queue.open(), settings, broker, subscribe)
}

/// Starts an ingester on this handle.
pub fn start_on(
    clock: Clock,
    handle: impl Queue,
    settings: &QueueSettings,
    broker: &Mosquitto,
) -> Running {
    start_with(
        clock,
        handle,
        settings,
        broker,
        SubscribeSettings::default(),
    )
}

fn start_with(
    clock: Clock,
    handle: impl Queue,
    settings: &QueueSettings,
    broker: &Mosquitto,
    subscribe: SubscribeSettings,
) -> Running {
    let work = Work {
        decoder: Decoder::Rigs(ReadingLimits {
            times: TimeLimitSettings {
                max_future: Duration::from_mins(1),
                max_age: Duration::from_hours(29 * 24),
            },
            max_payload: 64 << 10,
        }),
        queue: settings.clone(),
    };
    let mqtt = MqttSettings::at("127.0.0.1", broker.port());
    let session = move |up, _| Subscriber::start(&mqtt, &subscribe, "rigline-ingester-rigs", up);
    Running::start_at(clock, |process| {
        ingester::run(work, handle, session, process)
    })
}

/// A session that publishes at QoS 1, in order.
pub struct Device(Publisher);

impl Device {
    pub fn start(broker: &Mosquitto) -> Self {
        let settings = MqttSettings::at("127.0.0.1", broker.port());
        let nothing = Dependency::unreported("mqtt");
        Self(Publisher::start(&settings, "device", nothing, |_| ()))
    }

    /// Publishes readings with these values, and waits for their acknowledgements.
    pub async fn send(&self, values: std::ops::Range<i32>) {
        for value in values {
            self.publish(TOPIC, payload(now(), value)).await;
        }
        self.settle().await;
    }

    pub async fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        let sent = self.0.publish(0, topic.into(), payload.into());
        sent.await.unwrap();
    }

    /// Waits until the broker has acknowledged everything.
    pub async fn settle(&self) {
        assert!(self.0.drain(PATIENCE).await, "{:?}", self.0.counts());
    }
}

/// The topic that devices publish to.
pub const TOPIC: &str = "rigs/RIG-1/measurements/pressure";

pub fn now() -> Timestamp {
    Clock::system().now()
}

/// A payload of a device.
pub fn payload(timestamp: Timestamp, value: i32) -> String {
    format!("{{\"timestamp\":\"{timestamp}\",\"value\":{value}}}")
}

/// Publishes with `mosquitto_pub` and these options.
pub fn publish_with(broker: &Mosquitto, options: &[&str], payload: &str) {
    let mut client = broker.client("mosquitto_pub");
    client
        .args(["-t", TOPIC, "-s"])
        .args(options)
        .stdin(Stdio::piped());
    let mut child = client.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(payload.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

/// The values of readings, in the list's order.
pub fn values(elements: &[Vec<u8>]) -> Vec<i32> {
    let value = |element: &Vec<u8>| {
        let reading = element::decode_reading(element).unwrap();
        assert_eq!(topic::format(&reading.rig_id, &reading.sensor), TOPIC);
        #[expect(clippy::cast_possible_truncation, reason = "they were made of such")]
        let value = reading.value as i32;
        value
    };
    elements.iter().map(value).collect()
}

/// The values in the raw list.
pub fn raw_values(queue: &TempQueue) -> Vec<i32> {
    values(&queue.items(List::Raw))
}

/// Asserts that each of `expected` occurs at least once, and nothing else.
pub fn assert_all(found: &[i32], expected: std::ops::Range<i32>) {
    let distinct: BTreeSet<i32> = found.iter().copied().collect();
    assert!(distinct.into_iter().eq(expected), "{found:?}");
}

/// Waits until this many readings were appended.
pub async fn accepted(queue: &TempQueue, count: i64) -> Ledger {
    let ledger = queue.wait_count(Counter::Accepted, count).await;
    assert_exact(&ledger);
    ledger
}

/// Takes readings off the raw list, as the transformer does, up to `last`. Returns their values.
pub async fn take_until(queue: &TempQueue, last: i32) -> Vec<i32> {
    let mut taken = Vec::new();
    while !taken.contains(&last) {
        assert!(taken.len() < 10_000, "the same again and again: {taken:?}");
        queue.wait_for(|ledger| ledger.raw > 0).await;
        taken.extend(values(&queue.drain(Stage::Transformer).await));
    }
    taken
}
