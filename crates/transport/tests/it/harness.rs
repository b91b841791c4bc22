//! What the tests share.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::health::{Dependency, Health};
use testkit::Mosquitto;
use tokio::time::timeout;
use transport::{
    Delivery, MqttSettings, MqttVersion, Publisher, Source, SubscribeSettings, Subscriber,
};

/// Longer than any operation takes, with reconnects.
pub const TIMEOUT: Duration = Duration::from_secs(30);

pub fn settings(broker: &Mosquitto) -> MqttSettings {
    MqttSettings::at("127.0.0.1", broker.port())
}

/// The settings for this version of MQTT.
pub fn settings_of(broker: &Mosquitto, version: MqttVersion) -> MqttSettings {
    MqttSettings {
        mqtt_version: version,
        ..settings(broker)
    }
}

pub fn subscriber(broker: &Mosquitto) -> (Subscriber, Health) {
    subscriber_for(&settings(broker), 10_000)
}

/// A session that speaks this version of MQTT.
pub fn subscriber_of(broker: &Mosquitto, version: MqttVersion) -> (Subscriber, Health) {
    subscriber_for(&settings_of(broker, version), 10_000)
}

pub fn subscriber_for(settings: &MqttSettings, capacity: usize) -> (Subscriber, Health) {
    let health = Health::default();
    let dependency = health.dependency("mqtt");
    let session = Subscriber::with_capacity(
        settings,
        &SubscribeSettings::default(),
        "rigline-test",
        dependency,
        capacity,
    );
    (session, health)
}

/// Waits until the session is connected and subscribed. After a kill of the broker, call [`down`] first:
/// the lost connection may still be reported as up.
pub async fn up(health: &Health) {
    wait_until_ready(health, true).await;
}

/// Waits until the session has noticed that its connection is lost.
pub async fn down(health: &Health) {
    wait_until_ready(health, false).await;
}

async fn wait_until_ready(health: &Health, ready: bool) {
    let reached = async {
        while health.report().ready != ready {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, reached)
        .await
        .unwrap_or_else(|_| panic!("not ready={ready}: {:?}", health.report()));
}

/// Waits for an error of the only dependency.
pub async fn last_error(health: &Health) -> String {
    let error = async {
        loop {
            if let Some(error) = health.report().dependencies[0].last_error.clone() {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, error).await.expect("no error is reported")
}

/// Waits until the last error of the only dependency has this text in it.
pub async fn error_with(health: &Health, text: &str) -> String {
    let error = async {
        loop {
            let last = last_error(health).await;
            if last.contains(text) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, error)
        .await
        .unwrap_or_else(|_| panic!("no error with {text:?}: {:?}", health.report()))
}

/// Waits for at least `count` deliveries.
pub async fn receive(session: &mut Subscriber, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        timeout(TIMEOUT, session.recv_batch(1_000, &mut deliveries))
            .await
            .unwrap_or_else(|_| panic!("{} of {count} messages arrived", deliveries.len()))
            .unwrap();
    }
    deliveries
}

/// The next delivery is a new message: a broker sends messages again before new ones.
pub async fn nothing_is_redelivered(broker: &Mosquitto, session: &mut Subscriber) {
    const MARKER: u64 = u64::MAX;
    let sender = Sender::start_as(&settings(broker), "marker-sender");
    sender.send([MARKER]).await;
    let deliveries = receive(session, 1).await;
    assert_eq!(id_of(&deliveries[0]), MARKER, "{:?}", deliveries[0]);
    sender.finish().await;
}

/// The id of a message, with which its payload begins.
pub fn id_of(delivery: &Delivery) -> u64 {
    u64::from_le_bytes(delivery.payload[..8].try_into().unwrap())
}

/// A publisher, and the ids that the broker has acknowledged to it.
pub struct Sender {
    pub publisher: Publisher,
    acknowledged: Arc<Mutex<Vec<u64>>>,
}

impl Sender {
    pub fn start(broker: &Mosquitto) -> Self {
        Self::start_as(&settings(broker), "sender")
    }

    /// One that speaks this version of MQTT.
    pub fn of(broker: &Mosquitto, version: MqttVersion) -> Self {
        Self::start_as(&settings_of(broker, version), "sender")
    }

    pub fn start_as(settings: &MqttSettings, client_id: &str) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let list = acknowledged.clone();
        let dependency = Dependency::unreported("mqtt");
        let publisher = Publisher::start(settings, client_id, dependency, move |id| {
            list.lock().unwrap().push(id);
        });
        Self {
            publisher,
            acknowledged,
        }
    }

    pub async fn send(&self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            self.send_sized(id, 60).await;
        }
    }

    pub async fn send_sized(&self, id: u64, size: usize) {
        let mut payload = id.to_le_bytes().to_vec();
        payload.resize(size, b' ');
        let topic = model::topic::format("RIG-1", "pressure");
        self.publisher.publish(id, topic, payload).await.unwrap();
    }

    /// Waits for all acknowledgements, and checks that each has arrived once.
    pub async fn finish(self) -> BTreeSet<u64> {
        assert!(
            self.publisher.drain(TIMEOUT).await,
            "{:?}",
            self.publisher.counts()
        );
        let counts = self.publisher.close().await;
        let list = self.acknowledged.lock().unwrap();
        let set: BTreeSet<u64> = list.iter().copied().collect();
        assert_eq!(set.len(), list.len(), "acknowledged twice");
        assert_eq!(
            (counts.acknowledged, counts.unacknowledged),
            (set.len() as u64, 0)
        );
        set
    }
}
