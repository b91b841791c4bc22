//! What the tests have in common.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::health::{Dependency, Health};
use model::topic::DEFAULT_FILTER;
use testkit::Mosquitto;
use tokio::time::timeout;
use transport::{Delivery, MqttSettings, Publisher, Source, Subscriber};

/// Longer than anything takes, reconnects included.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn settings(broker: &Mosquitto) -> MqttSettings {
    MqttSettings::at("127.0.0.1", broker.port())
}

pub fn subscriber(broker: &Mosquitto) -> (Subscriber, Health) {
    subscriber_for(broker, 10_000)
}

pub fn subscriber_for(broker: &Mosquitto, capacity: usize) -> (Subscriber, Health) {
    let health = Health::default();
    let dependency = health.dependency("mqtt");
    let settings = settings(broker);
    let session = Subscriber::with_capacity(
        &settings,
        DEFAULT_FILTER,
        "rigline-test",
        dependency,
        capacity,
    );
    (session, health)
}

/// Waits until the session is connected and subscribed. Just after a restart of the broker it may
/// still be taken for up, so it has to be seen so twice.
pub async fn up(health: &Health) {
    let mut seen = 0;
    let is_up = async {
        while seen < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            seen = if health.report().ready { seen + 1 } else { 0 };
        }
    };
    timeout(PATIENCE, is_up)
        .await
        .expect("the session doesn't come up");
}

/// The last error of the only dependency, once there is one.
pub async fn last_error(health: &Health) -> String {
    let error = async {
        loop {
            if let Some(error) = health.report().dependencies[0].last_error.clone() {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, error).await.expect("no error shown")
}

/// Waits for `count` deliveries or somewhat more.
pub async fn receive(session: &mut Subscriber, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        timeout(PATIENCE, session.recv_batch(1_000, &mut deliveries))
            .await
            .unwrap_or_else(|_| panic!("{} of {count} messages came", deliveries.len()))
            .unwrap();
    }
    deliveries
}

pub async fn nothing_comes(session: &mut Subscriber) {
    let mut deliveries = Vec::new();
    let more = session.recv_batch(10, &mut deliveries);
    assert!(
        timeout(Duration::from_millis(500), more).await.is_err(),
        "{deliveries:?}"
    );
}

/// Messages carry their id in front.
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
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let list = acknowledged.clone();
        let dependency = Dependency::unreported("mqtt");
        let publisher = Publisher::start(&settings(broker), "sender", dependency, move |id| {
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

    /// Waits for all acknowledgements; each has come once.
    pub async fn finish(self) -> BTreeSet<u64> {
        assert!(
            self.publisher.drain(PATIENCE).await,
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
